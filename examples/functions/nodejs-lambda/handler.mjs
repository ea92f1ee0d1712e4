// Two parameters, event and context, make it a handler of AWS Lambda.
export const handler = async (event, context) => ({
  statusCode: 200,
  body: `hello ${event.queryStringParameters?.name ?? 'world'} from ${context.functionName}\n`,
});
