// A parameter called event makes it a function of CloudEvents.
exports.handler = (event) => {
  console.log(`${event.type} ${event.id}: ${JSON.stringify(event.data)}`);
};
