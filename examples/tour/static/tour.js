const form = document.getElementById("upload");
const answer = document.getElementById("answer");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const file = form.elements.file.files[0];
  const response = await fetch("/upload/" + encodeURIComponent(file.name), { method: "POST", body: file });
  answer.textContent = response.status + " " + (await response.text());
  answer.hidden = false;
});
