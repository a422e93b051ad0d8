// Each new sighting comes as a piece of the page, ready to be put on top of the others.
const list = document.querySelector("[data-live]");
const live = new EventSource(list.dataset.live);
live.addEventListener("sighting", event => list.insertAdjacentHTML("afterbegin", event.data));
live.onopen = live.onerror = () => list.classList.toggle("live", live.readyState === EventSource.OPEN);
