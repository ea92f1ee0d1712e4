# fetch.py URL FILE LIMIT: downloads one file. Python's client knows the proxies and certificates of the environment.
import socket, sys, urllib.error, urllib.request

url, file, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
try:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"User-Agent": "gitd"}), timeout=30) as answer, open(file, "wb") as out:
        while chunk := answer.read(1 << 20):
            limit -= len(chunk)
            if limit < 0:
                sys.exit("it is too large")
            out.write(chunk)
except urllib.error.HTTPError as e:
    print(f"the server answered {e.code} {e.reason}")
    sys.exit(44 if e.code in (404, 410) else 1)
except (OSError, ValueError) as e:
    why = getattr(e, "reason", e)
    print("its name is not known" if isinstance(why, socket.gaierror) else str(why))
    sys.exit(1)
