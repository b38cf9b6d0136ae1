package turn

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// The same sender at several doors has one account there.
func TestCreditOfOneSenderAtManyDoors(t *testing.T) {
	c := newCredit()
	alice := netip.MustParseAddrPort("9.9.9.9:5000")
	var answered atomic.Int64
	var work sync.WaitGroup
	const doors, each = 4, 200_000
	for range doors {
		work.Go(func() {
			for range each {
				if c.pay(alice, 28, 56) {
					answered.Add(56)
				}
			}
		})
	}
	work.Wait()
	if got, want := answered.Load(), int64(doors*each*28); got != want {
		t.Errorf("%d octets for %d", got, want)
	}
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

// What is left of a long request is good for short ones, to the octet.
func TestCreditIsExact(t *testing.T) {
	l := newLaboratory(t, nil)
	a := &asker{raw: l.raw(t), c: l.credentials()}
	short := stun.MustBuild(stun.TransactionID, allocateRequest, overUDP).Raw
	if m := a.ask(short); m == nil || a.nonce.GetFrom(m) != nil { // 56 octets for 56
		t.Fatal("no nonce in", m)
	}
	a.c.Password = "north"
	long := a.sealed(stun.MethodAllocate, overUDP, stun.RawAttribute{Type: 0x8FFF, Value: make([]byte, 64)}).Raw
	left := len(long)
	for i := range 12 {
		p := short
		if i == 0 {
			p = long
		} else {
			left += len(p)
		}
		answered := a.say(p) != nil
		if answered != (left >= 56) {
			t.Errorf("request %d with %d octets left: answered is %v", i, left, answered)
		}
		if answered {
			left -= 56
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
	addresses := []string{l.addr}
	if a, err := l.Listen(netip.MustParseAddrPort("[::1]:0")); err == nil {
		addresses = append(addresses, a.String())
	} else {
		t.Log("not over IPv6:", err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	requests := func(nonce stun.Nonce) []byte {
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
	var answers atomic.Int64
	for i := range 16 {
		r := &raw{t: t}
		var err error
		if r.conn, err = net.Dial("udp", addresses[i%len(addresses)]); err != nil {
			t.Fatal(err)
		}
		defer r.conn.Close()
		var nonce stun.Nonce
		if m := r.ask(stun.MustBuild(stun.TransactionID, allocateRequest, overUDP).Raw); m == nil || nonce.GetFrom(m) != nil { // 56 octets for 56
			t.Fatal("no nonce in", m)
		}
		var said [][]byte
		for range 500 {
			p := requests(nonce)
			for range 1 + random.IntN(3) {
				said = append(said, p)
			}
		}
		var sent atomic.Int64
		work.Go(func() {
			for i, p := range said {
				sent.Add(int64(len(p)))
				if _, err := r.conn.Write(p); err != nil {
					t.Error(err)
				}
				if i%20 == 19 { // nothing is to get lost
					time.Sleep(time.Millisecond)
				}
			}
			r.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		})
		work.Go(func() {
			b, got := make([]byte, 2000), int64(0)
			for {
				n, err := r.conn.Read(b)
				if err != nil {
					return // nothing comes any more
				}
				answers.Add(1)
				if got += int64(n); got > sent.Load() {
					t.Errorf("%d octets to somebody who sent %d, the last of them %x", got, sent.Load(), b[:n])
				}
			}
		})
	}
	work.Wait()
	if n := answers.Load(); n < 3000 {
		t.Errorf("%d answers", n)
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
