# A parameter called cloud_event makes it a function of CloudEvents.
def handler(cloud_event):
    print(f"{cloud_event['type']} {cloud_event['id']}: {cloud_event.data}", flush=True)
