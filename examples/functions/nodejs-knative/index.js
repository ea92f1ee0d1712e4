const handle = async (context, body) => ({
  body: `${process.env.GREETING} ${context.query.name ?? body?.name ?? 'world'} from Knative\n`,
});

module.exports = { handle };
