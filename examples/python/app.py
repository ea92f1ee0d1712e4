from flask import Flask

VERSION = "v1"

app = Flask(__name__)


@app.get("/")
def hello():
    return f"hello from Python, {VERSION}\n", {"Content-Type": "text/plain; charset=utf-8"}
