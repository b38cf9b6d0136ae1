package turn

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/pion/stun/v3"
)

// Nobody is answered more than he asked, at no moment, whoever else asks: more
// senders than there are cells, of several goroutines.
func TestCreditIsNeverOverdrawn(t *testing.T) {
	c := newCredit()
	var work sync.WaitGroup
	for g := range 4 {
		work.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(g)))
			asked, answered, paid := map[netip.AddrPort]int{}, map[netip.AddrPort]int{}, 0
			for range 300_000 {
				// A few often, many seldom; a sender is always one goroutine's.
				n := random.IntN(100)
				if random.IntN(2) == 0 {
					n = random.IntN(50_000)
				}
				from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, byte(g), byte(n >> 8), byte(n)}), 5000)
				request, answer := 20+4*random.IntN(30), 20+4*random.IntN(30)
				asked[from] += request
				if c.pay(from, request, answer) {
					answered[from] += answer
					paid++
				}
				if answered[from] > asked[from] {
					t.Errorf("a sender of %d octets was answered with %d", asked[from], answered[from])
					return
				}
			}
			if paid < 150_000 {
				t.Errorf("%d of 300000 requests are answered", paid)
			}
		})
	}
	work.Wait()
}

// What a sender has left is kept for him, but no more than a message.
func TestCreditOfASender(t *testing.T) {
	c := newCredit()
	alice, bob := netip.MustParseAddrPort("9.9.9.9:5000"), netip.MustParseAddrPort("9.9.9.9:5001")
	for i, step := range []struct {
		from            netip.AddrPort
		request, answer int
		want            bool
	}{
		{alice, 28, 56, false}, {bob, 28, 56, false}, {alice, 28, 56, true}, {alice, 28, 56, false}, {bob, 36, 64, true}, {bob, 0, 4, false},
		{alice, 20, 48, true}, {bob, maxMessage, 0, true}, {bob, maxMessage, 0, true}, {bob, 0, maxMessage, true}, {bob, 0, 4, false},
	} {
		if got := c.pay(step.from, step.request, step.answer); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

// Whatever strangers say, with whatever mistakes, and how often: at no moment
// have they got more than they sent. Over TCP, where nobody speaks in another's
// name, they are answered at once.
func TestStrangersGetNoMoreThanTheySend(t *testing.T) {
	l := newLaboratory(t, nil)
	wrong := l.credentials()
	wrong.Password = "north"
	nonce := func() stun.Setter {
		var n stun.Nonce
		if m := l.raw(t).ask(stun.MustBuild(stun.TransactionID, allocateRequest).Raw); m == nil || n.GetFrom(m) != nil {
			t.Fatal("no nonce in", m)
		}
		return n
	}()
	addresses := []string{l.addr}
	if a, err := l.Listen(netip.MustParseAddrPort("[::1]:0")); err == nil {
		addresses = append(addresses, a.String())
	} else {
		t.Log("not over IPv6:", err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	requests := func() []byte {
		methods := []stun.Method{stun.MethodBinding, stun.MethodAllocate, stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind, 0x00a, 0x123}
		all := []stun.Setter{stun.TransactionID, stun.NewType(methods[random.IntN(len(methods))], stun.ClassRequest)}
		for _, one := range []stun.Setter{
			overUDP, stun.RawAttribute{Type: attrFamily, Value: []byte{familyIPv6, 0, 0, 0}}, peer("10.0.0.1:9"), stun.RawAttribute{Type: 0x7ff0, Value: []byte("what?")},
			stun.RawAttribute{Type: stun.AttrLifetime, Value: []byte{0, 0, 0, 0}}, stun.NewUsername(wrong.Username), stun.NewRealm(realm), nonce,
			stun.NewLongTermIntegrity(wrong.Username, realm, wrong.Password), stun.Fingerprint,
		} {
			if random.IntN(2) == 0 {
				all = append(all, one)
			}
		}
		return stun.MustBuild(all...).Raw
	}
	var work sync.WaitGroup
	answers := 0
	for i := range 16 {
		r := &raw{t: t}
		var err error
		if r.conn, err = net.Dial("udp", addresses[i%len(addresses)]); err != nil {
			t.Fatal(err)
		}
		defer r.conn.Close()
		var said [][]byte
		for range 25 {
			p := requests()
			for range 1 + random.IntN(3) {
				said = append(said, p)
			}
		}
		var heard sync.Mutex
		work.Go(func() {
			sent, got := 0, 0
			for _, p := range said {
				sent += len(p)
				if m := r.say(p); m != nil {
					got += len(m.Raw)
					heard.Lock()
					answers++
					heard.Unlock()
				}
				if got > sent {
					t.Errorf("%d octets to somebody who sent %d, the last with %x", got, sent, p)
					return
				}
			}
		})
	}
	work.Wait()
	if answers < 100 {
		t.Errorf("%d answers", answers)
	}
	conn, err := net.Dial("tcp", l.tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if m := (&raw{t, conn}).say(stun.MustBuild(stun.TransactionID, allocateRequest, overUDP).Raw); m == nil {
		t.Error("over TCP a request has to be repeated")
	}
}

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
	if code(m) != stun.CodeStaleNonce || nonce.GetFrom(m) != nil || len(nonce) != nonceTold {
		t.Fatal(m)
	}
	none := stun.RawAttribute{Type: 0x8FFF}
	if m := sealed(nonce, none, overUDP); code(m) != stun.CodeBadRequest {
		t.Error("what stands behind the integrity was taken:", m)
	}
	if m := sealed(nonce, overUDP, stun.Fingerprint); code(m) != 0 || m.Type.Class != stun.ClassSuccessResponse {
		t.Error(m)
	}
	var list nonces
	for i := range 100 {
		told := list.short(fmt.Sprintf("the nonce of minute %08d", i))
		if whole, ok := list.whole(told); !ok || len(told) != nonceTold || whole != list[0] {
			t.Fatal(told, whole)
		}
	}
	if _, ok := list.whole(""); ok || len(list) != 61 {
		t.Error(len(list), "nonces are remembered")
	}
	list.short(list[30])
	if len(list) != 61 {
		t.Error("one is remembered twice")
	}
}
