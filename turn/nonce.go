package turn

import (
	"slices"
	"time"

	"github.com/pion/stun/v3"
	pion "github.com/pion/turn/v4"
)

// What strangers are told when they ask without a key (RFC 8489 section 9.2.4)
// is as short as it can be: the shorter an answer, the sooner they get it. The
// realm is nobody's name, as keys are made of passwords that no other server
// has; and of the library's nonce only the end is told.

const (
	realm = "turn"
	// nonceTold is how many octets of a nonce are told. The library writes its
	// authentication code in base 36 there; these are 82 bits of it.
	nonceTold = 16
	// nonceLife is how long the library takes a nonce. It makes one a minute.
	nonceLife = time.Hour
)

// nonces are those of the library that were told, the latest first.
type nonces []string

// short gives what is told of a nonce, and remembers it.
func (n *nonces) short(nonce string) string {
	if !slices.Contains(*n, nonce) {
		*n = slices.Insert(*n, 0, nonce)
		*n = (*n)[:min(len(*n), int(nonceLife/time.Minute)+1)]
	}
	return nonce[max(0, len(nonce)-nonceTold):]
}

// whole gives the nonce of which this was told.
func (n nonces) whole(told string) (nonce string, ok bool) {
	for _, nonce := range n {
		if len(told) > 0 && told == nonce[max(0, len(nonce)-nonceTold):] {
			return nonce, true
		}
	}
	return "", false
}

// authenticate finds the key of who asks, and gives the request with the
// library's own nonce in it, sealed anew with that key. What shows no key, or
// a nonce that was not told, is given as it came: the library refuses it.
// Attributes behind the integrity are nobody's word and go.
func (d *door) authenticate(p []byte) []byte {
	asked := &stun.Message{Raw: slices.Clone(p)}
	var told stun.Nonce
	var user stun.Username
	var in stun.Realm
	if asked.Decode() != nil || told.GetFrom(asked) != nil || user.GetFrom(asked) != nil || in.GetFrom(asked) != nil {
		return p
	}
	nonce, ok := d.nonces.whole(told.String())
	if !ok {
		return p
	}
	var fits bool
	d.secret, d.bucket, fits = d.s.keyOf(user.String(), in.String(), asked)
	m := &stun.Message{TransactionID: asked.TransactionID, Type: asked.Type}
	m.WriteHeader()
	for _, a := range asked.Attributes {
		switch a.Type {
		case stun.AttrNonce:
			m.Add(a.Type, []byte(nonce))
			continue
		case stun.AttrMessageIntegrity:
			if !fits {
				m.Add(a.Type, a.Value)
			} else if stun.MessageIntegrity(d.secret).AddTo(m) != nil {
				return p
			}
			return m.Raw
		}
		m.Add(a.Type, a.Value)
	}
	return p
}

// keyOf gives the key of a user name, nil when it has none now, and its
// budget. After a rotation it may have several: then it is the one that the
// message is sealed with. fits tells whether it is.
func (s *Server) keyOf(username, in string, sealed *stun.Message) (key []byte, bucket int, fits bool) {
	passwords, bucket, err := s.cfg.Secrets.of(username, s.cfg.Now())
	if err != nil || in != realm {
		return nil, 0, false
	}
	for _, p := range passwords {
		key = pion.GenerateAuthKey(username, realm, p)
		if stun.MessageIntegrity(key).Check(sealed) == nil {
			return key, bucket, true
		}
	}
	return key, bucket, false // it is as wrong with this as with the others
}
