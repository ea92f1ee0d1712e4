import functions_framework


@functions_framework.http
def hello(request):
    return f"hello {request.args.get('name', 'world')} from the Functions Framework\n"
