// A function of Knative. Without a channel it fails, and its events are kept as dead letters.
const handle = async (context, event) => {
  if (!process.env.CHANNEL) throw new Error('there is no CHANNEL to notify');
  console.log(`${process.env.CHANNEL}: ${event.subject} is stored, ${event.data.size} bytes`);
};

module.exports = { handle };
