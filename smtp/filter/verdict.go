package filter

// Kind is what a message is.
type Kind uint8

// The kinds. All but Clear may pass; what a caller does with each is its
// decision.
const (
	Clear       Kind = iota // anything else
	Encrypted               // PGP/MIME whose data is encrypted
	Handshake               // the request that begins a securejoin, in the clear
	Report                  // a delivery report of a mailer daemon; incoming only
	KeyTransfer             // an Autocrypt Setup Message to oneself; outgoing only
)

// String gives a word for metrics: clear, encrypted, handshake, report,
// key-transfer.
func (k Kind) String() string {
	return [...]string{"clear", "encrypted", "handshake", "report", "key-transfer"}[k]
}

// Verdict says what a message is and, when it is Clear, why it is nothing
// better. It has no content of the message.
type Verdict struct {
	Kind Kind
	// Why is the first rule that the message broke, of the kind it seems to
	// be meant as. None unless Kind is Clear.
	Why Rule
	// Packets tells of the encrypted data; zero unless Kind is Encrypted.
	Packets Packets
}

// Pass tells whether Kind is another than Clear.
func (v Verdict) Pass() bool { return v.Kind != Clear }

// Packets counts the OpenPGP packets of an encrypted message.
type Packets struct {
	PKESK int // tag 1: session keys for a public key
	SKESK int // tag 3: session keys for a password
	// SEIPD is the version of the encrypted data, tag 18: 1, 2, or 0 for one
	// that go-crypto does not know.
	SEIPD int
}
