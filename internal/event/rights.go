package event

// Rights say who gets whose events. They are asked for each event and each trigger that takes it, and answer from memory.
//
// keys are those to whose apps a broker was given (Platform.ShareBroker); none where it was given to no key in particular.
type Rights interface {
	// Gets says whether the app with this ID gets what a sender sends. In a broker with keys, that is each app of one of them. In any other, an app gets what it sends
	// itself, and what those send whom its owner may see: apps that the owner may read, the owner, a key that may read the app, what has a token.
	Gets(app int64, from Sender, keys []string) bool
	// Sends says whether a sender may send to a broker.
	Sends(from Sender, keys []string) bool
	// Payer names whose share of the room for events a sender takes: a key. It is "" for what is not bounded so.
	Payer(from Sender) string
}
