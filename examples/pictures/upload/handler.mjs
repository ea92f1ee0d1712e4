// A handler of AWS Lambda. What the webhook takes is checked, and goes on as an event: the answer.
export const handler = async (event, context) => {
  const { name, picture } = event.data.data;
  if (!/^[a-z0-9-]+\.png$/.test(name)) throw new Error(`${name} is not the name of a picture`);
  return {
    specversion: '1.0', id: event.id, source: '/upload', type: 'picture.received', subject: name,
    datacontenttype: 'application/json', data: { name, picture },
  };
};
