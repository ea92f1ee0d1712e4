import { Hono } from "hono";

const version = "v1";
const app = new Hono();
app.get("/", (c) => c.text(`hello from Bun, ${version}\n`));

export default app;
