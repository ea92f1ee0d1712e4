type Response = { send(text: string): void };

export function handler(req: { query: Record<string, string> }, res: Response): void {
  res.send(`hello ${req.query.name ?? 'world'} from TypeScript\n`);
}
