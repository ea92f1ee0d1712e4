var app = WebApplication.Create(args);

app.MapGet("/", () => "Hello from .NET, v1\n");

app.Run();
