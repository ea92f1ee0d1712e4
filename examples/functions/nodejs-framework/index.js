const functions = require('@google-cloud/functions-framework');

functions.http('hello', (req, res) => {
  res.send(`hello ${req.query.name ?? 'world'} from the Functions Framework\n`);
});
