from weebill import App

app = App(__name__)


@app.get("/")
async def plain() -> str:
    return "Hello, world!"
