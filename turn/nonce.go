package turn

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v3"
	pion "github.com/pion/turn/v4"
)

// Who asks without a key is told a realm and a nonce (RFC 8489 section 9.2.4).
// Both are as short as they can be: the shorter an answer, the sooner a
// stranger gets it. The library's nonce is longer, and everybody's; it stays
// here.

const (
	// realm is nobody's name: keys are made of passwords that no other server has.
	realm = "turn"
	// nonceTime and nonceCode are the octets of a nonce: its minute, and a code
	// of that and of whom it was told. Their base 64 has 16 octets.
	nonceTime, nonceCode = 4, 8
	// nonceLife is a little less than the library's hour: what we take it takes,
	// but where the clock was set, and then there is a new one for the asking.
	nonceLife = 55 * time.Minute
)

// nonces makes nonces and knows them again.
type nonces struct {
	key [32]byte
	// library is the latest of the library: it made it when we made ours.
	library string
}

func newNonces() (n nonces) {
	rand.Read(n.key[:]) // never fails, see crypto/rand
	return n
}

// tell gives a nonce for a client alone.
func (n *nonces) tell(client netip.AddrPort, now time.Time) string {
	return n.of(client, uint32(now.Unix()/60))
}

// told tells whether a client was told this nonce lately.
func (n *nonces) told(nonce string, client netip.AddrPort, now time.Time) bool {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != nonceTime+nonceCode {
		return false
	}
	minute := binary.BigEndian.Uint32(b)
	age := uint32(now.Unix()/60) - minute
	return age <= uint32(nonceLife/time.Minute) && hmac.Equal([]byte(nonce), []byte(n.of(client, minute)))
}

func (n *nonces) of(client netip.AddrPort, minute uint32) string {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, nonceTime+sha256.Size), minute)
	m := hmac.New(sha256.New, n.key[:])
	m.Write(b)
	ip := client.Addr().As16()
	m.Write(ip[:])
	m.Write(binary.BigEndian.AppendUint16(nil, client.Port()))
	return base64.RawURLEncoding.EncodeToString(m.Sum(b)[:nonceTime+nonceCode])
}

// authenticate finds the key of who asks, and gives the request with the
// library's own nonce in it, sealed anew with that key. What shows no key, or
// no nonce that its sender was told, is given as it came: the library refuses
// it. Attributes behind the integrity are nobody's word and go. shown tells
// whether the key was shown.
func (d *door) authenticate(p []byte) (request []byte, shown bool) {
	asked := &stun.Message{Raw: slices.Clone(p)}
	var told stun.Nonce
	var user stun.Username
	var in stun.Realm
	if asked.Decode() != nil || told.GetFrom(asked) != nil || !d.nonces.told(told.String(), d.from, d.s.cfg.Now()) {
		return p, false
	}
	d.told = told
	// Without them it shows no key, and the library says what it lacks.
	_, _ = user.GetFrom(asked), in.GetFrom(asked)
	var fits bool
	d.secret, d.bucket, fits = d.s.keyOf(user.String(), in.String(), asked)
	m := &stun.Message{TransactionID: asked.TransactionID, Type: asked.Type}
	m.WriteHeader()
	for _, a := range asked.Attributes {
		switch a.Type {
		case stun.AttrNonce:
			if !m.Contains(a.Type) { // the first counts
				m.Add(a.Type, []byte(d.nonces.library))
			}
			continue
		case stun.AttrMessageIntegrity:
			if !fits {
				m.Add(a.Type, a.Value)
			} else if stun.MessageIntegrity(d.secret).AddTo(m) != nil {
				return p, false
			}
			return m.Raw, fits
		}
		m.Add(a.Type, a.Value)
	}
	return p, false
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
