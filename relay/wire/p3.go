package wire

// Types of P3, in decimal. Those of DERP have the same meaning up to 8 and
// other numbers above.
const (
	p3ClientInfo = 2
	p3Send       = 4
	p3Recv       = 5
	p3KeepAlive  = 6
	p3Preferred  = 7
	p3Gone       = 8
	p3Ping       = 12
	p3Pong       = 13
	p3Health     = 14
	p3Restarting = 15
)

// parseP3 ignores (Unknown) what has no meaning from that side: later versions
// may have given it one.
func parseP3(b []byte, from From) (Frame, error) {
	if len(b) == 0 {
		return Frame{}, broken(P3, "empty")
	}
	kind := Unknown
	switch b[0] {
	case p3Send, p3Recv:
		if (b[0] == p3Send) == (from == FromClient) {
			return parsePacketP3(b[1:])
		}
	case p3KeepAlive:
		kind = KeepAlive
	case p3Ping:
		kind = Ping
	case p3Pong:
		kind = Pong
	case p3Preferred:
		if from == FromClient {
			kind = Preferred
		}
	case p3Health:
		if from == FromClient {
			return Frame{}, broken(P3, "health comes from relays alone")
		}
		kind = Health
	case p3Gone:
		if from == FromRelay {
			kind = Gone
		}
	case p3Restarting:
		if from == FromRelay {
			kind = Restarting
		}
	}
	if kind == Unknown {
		return Frame{}, nil
	}
	return P3.payload(kind, b[1:])
}

func parsePacketP3(p []byte) (Frame, error) {
	if len(p) < KeySize {
		return Frame{}, broken(P3, "a packet without a key")
	}
	return Frame{Kind: Datagrams, Key: Key(p[:KeySize]), Data: p[KeySize:]}, nil
}

func numberP3(f Frame, from From) int {
	switch f.Kind {
	case Datagrams:
		if from == FromClient {
			return p3Send
		}
		return p3Recv
	case Gone:
		return p3Gone
	case Ping:
		return p3Ping
	case Pong:
		return p3Pong
	case Health:
		return p3Health
	case Restarting:
		return p3Restarting
	case KeepAlive:
		return p3KeepAlive
	case Preferred:
		return p3Preferred
	}
	return -1
}

// disco is what the datagrams begin with by which clients look for a direct way
// to each other.
const disco = "TS\xf0\x9f\x92\xac"

// Disco tells whether a packet begins with such a datagram. The relay passes it
// on like all others.
func (d Dialect) Disco(f Frame) bool {
	b := f.Data
	if d == P3 && len(b) >= 2 {
		b = b[2:]
	}
	return len(b) >= len(disco) && string(b[:len(disco)]) == disco
}
