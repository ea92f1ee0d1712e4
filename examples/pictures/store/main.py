import base64
import json
import pathlib

import functions_framework

pictures = pathlib.Path("/tmp/pictures")  # a real one would be an object store


# A function of the Functions Framework: an event stores a picture, a GET returns it.
@functions_framework.http
def store(request):
    name = request.headers.get("ce-subject") or request.path.strip("/")
    file = pictures / pathlib.PurePath(name).name
    if request.method == "GET":
        if not file.is_file():
            return "there is no such picture\n", 404
        return file.read_bytes(), 200, {"Content-Type": "image/png"}
    pictures.mkdir(exist_ok=True)
    file.write_bytes(base64.b64decode(request.get_json(force=True)["picture"]))
    return json.dumps({"size": file.stat().st_size}), 200, {
        "Content-Type": "application/json", "ce-specversion": "1.0", "ce-type": "picture.stored",
        "ce-id": request.headers["ce-id"], "ce-source": "/store", "ce-subject": file.name,
    }
