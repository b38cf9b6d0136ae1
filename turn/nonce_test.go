package turn

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// A nonce that nobody was told, or no more, gets a new one; attributes behind
// the integrity say nothing.
func TestNonces(t *testing.T) {
	l := newLaboratory(t, nil)
	r, c := l.raw(t), l.credentials()
	sealed := func(nonce stun.Nonce, before, behind stun.Setter) *stun.Message {
		m := stun.MustBuild(stun.TransactionID, allocateRequest, before, stun.NewUsername(c.Username), stun.NewRealm(realm), nonce,
			stun.NewLongTermIntegrity(c.Username, realm, c.Password), behind)
		return r.ask(m.Raw)
	}
	code := func(m *stun.Message) (n stun.ErrorCode) {
		var e stun.ErrorCodeAttribute
		if m == nil {
			t.Fatal("no answer")
		}
		if e.GetFrom(m) == nil {
			return e.Code
		}
		return 0
	}
	m := sealed(stun.NewNonce("0123456789abcdef"), overUDP, stun.Fingerprint)
	var nonce stun.Nonce
	if code(m) != stun.CodeStaleNonce || nonce.GetFrom(m) != nil || len(nonce) != 16 {
		t.Fatal(m)
	}
	// What lacks a name is told so, not that its nonce is old.
	nameless := stun.MustBuild(stun.TransactionID, allocateRequest, overUDP, nonce, stun.NewLongTermIntegrity(c.Username, realm, c.Password))
	if m := r.ask(nameless.Raw); code(m) != stun.CodeBadRequest {
		t.Error(m)
	}
	none := stun.RawAttribute{Type: 0x8FFF}
	if m := sealed(nonce, none, overUDP); code(m) != stun.CodeBadRequest {
		t.Error("what stands behind the integrity was taken:", m)
	}
	// One that was told to somebody else lets nobody speak in that one's name.
	own := r
	r = l.raw(t)
	if m := sealed(nonce, overUDP, stun.Fingerprint); code(m) != stun.CodeStaleNonce {
		t.Error("a nonce is good for two:", m)
	}
	r = own
	// Who mistook the password may go on with what he is told then.
	good := c.Password
	c.Password = "north"
	var again stun.Nonce
	if m := sealed(nonce, overUDP, stun.Fingerprint); code(m) != stun.CodeUnauthorized || again.GetFrom(m) != nil || again.String() != nonce.String() {
		t.Error(m)
	}
	c.Password = good
	if m := sealed(nonce, overUDP, stun.Fingerprint); code(m) != 0 || m.Type.Class != stun.ClassSuccessResponse {
		t.Error(m)
	}
}

// A nonce is one client's for a while, at the door that told it.
func TestNoncesEnd(t *testing.T) {
	ours, another := newNonces(), newNonces()
	now := time.Unix(1790000000, 0)
	alice, bob := netip.MustParseAddrPort("9.9.9.9:5000"), netip.MustParseAddrPort("9.9.9.9:5001")
	nonce := ours.tell(alice, now)
	if len(nonce) != 16 {
		t.Errorf("%q has %d octets", nonce, len(nonce))
	}
	changed := []byte(nonce)
	changed[15] = 'A' + (changed[15]-'A'+1)%26
	for _, c := range []struct {
		what  string
		by    *nonces
		nonce string
		from  netip.AddrPort
		later time.Duration
		want  bool
	}{
		{"told", &ours, nonce, alice, 0, true}, {"almost old", &ours, nonce, alice, nonceLife, true}, {"old", &ours, nonce, alice, nonceLife + time.Minute, false},
		{"of tomorrow", &ours, nonce, alice, -time.Minute, false}, {"another's", &ours, nonce, bob, 0, false}, {"another door's", &another, nonce, alice, 0, false},
		{"of another address", &ours, nonce, netip.MustParseAddrPort("9.9.9.8:5000"), 0, false},
		{"with a later minute", &ours, ours.tell(alice, now.Add(time.Hour))[:5] + nonce[5:], alice, time.Hour, false},
		{"none", &ours, "", alice, 0, false}, {"changed", &ours, string(changed), alice, 0, false}, {"longer", &ours, nonce + "AAAA", alice, 0, false},
		{"no base 64", &ours, "nonce of library", alice, 0, false}, {"with a line's end", &ours, nonce[:15] + "\n" + nonce[15:], alice, 0, false},
	} {
		if got := c.by.told(c.nonce, c.from, now.Add(c.later)); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
