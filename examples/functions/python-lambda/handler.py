# Two parameters, event and context, make it a handler of AWS Lambda.
def handler(event, context):
    name = (event.get("queryStringParameters") or {}).get("name", "world")
    return {"statusCode": 200, "body": f"hello {name} from {context.function_name}\n"}
