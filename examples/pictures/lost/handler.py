# A bare file. It takes the dead letters of thumbnail, which say why they are ones.
def handler(cloud_event):
    print(f"lost: {cloud_event['subject']}: {cloud_event['knativeerrorcode']}", flush=True)
