package deltachat

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long the exchange waits for anything. The core itself waits
// up to 30 s after a lost connection before it sends again, and up to a minute
// before it logs in again.
const patience = 2 * time.Minute

// quick is how many texts are sent without a pause.
const quick = 40

// Relay is what Exchange needs to know of the relay under test.
type Relay struct {
	// Alice and Bob are the login URIs of two accounts, "dclogin:" or
	// "dcaccount:".
	Alice, Bob string
	// Stop ends the relay while mail is on its way, Start starts it again on
	// the same data and ports.
	Stop, Start func()
	// DialIMAP connects to the relay's IMAP, TLS included, for a look into the
	// mailboxes past the core.
	DialIMAP func(context.Context) (net.Conn, error)
}

// exchange is one run of the scenario.
type exchange struct {
	t     testing.TB
	relay Relay
	alice person
	bob   person
}

// person is one of the two with what the other must get.
type person struct {
	*Account
	chat, group uint32   // with the other
	sent        []uint32 // messages
	texts       []string // of the messages in the chat
	groupTexts  []string
}

// Exchange lets two real cores talk through a relay: they make each other's
// acquaintance by a securejoin handshake, send texts both ways, a group, a
// picture of several MB, a read receipt; the relay is restarted while they
// send; 40 texts follow each other without a pause. In the end each message
// has arrived once, and nothing is left in a mailbox.
func Exchange(t testing.TB, r Relay) {
	t.Helper()
	x := newExchange(t, r, "", "")
	x.run([]step{
		{"log in", x.logIn},
		{"securejoin", x.join},
		{"texts both ways", x.texts},
		{"a group", x.group},
		{"a picture", x.picture},
		{"a read receipt", x.receipt},
		{"a restart", x.restart},
		{"quick texts", x.quick},
		{"everything once", x.once},
		{"empty mailboxes", x.empty},
	})
}

// ExchangeBetween is Exchange of the cores of two versions, without the quick
// texts.
func ExchangeBetween(t testing.TB, r Relay, alice, bob string) {
	t.Helper()
	x := newExchange(t, r, alice, bob)
	x.run([]step{
		{"log in", x.logIn},
		{"securejoin", x.join},
		{"texts both ways", x.texts},
		{"a group", x.group},
		{"a picture", x.picture},
		{"a read receipt", x.receipt},
		{"a restart", x.restart},
		{"everything once", x.once},
		{"empty mailboxes", x.empty},
	})
}

func newExchange(t testing.TB, r Relay, alice, bob string) *exchange {
	t.Helper()
	x := &exchange{t: t, relay: r}
	x.alice.Account = Start(t, Options{Name: "alice", Version: alice}).AddAccount("Alice")
	x.bob.Account = Start(t, Options{Name: "bob", Version: bob}).AddAccount("Bob")
	return x
}

// step is a part of an exchange that builds upon those before it.
type step struct {
	name string
	do   func()
}

// run does one step after the other and tells how long each took.
func (x *exchange) run(steps []step) {
	x.t.Helper()
	for _, s := range steps {
		begin := time.Now()
		s.do()
		x.t.Logf("%-16s %6.2f s", s.name, time.Since(begin).Seconds())
	}
}

func (x *exchange) logIn() {
	x.alice.Configure(x.relay.Alice)
	x.bob.Configure(x.relay.Bob)
	for _, p := range []*person{&x.alice, &x.bob} {
		// The 1.x series takes itself for one device of several, and leaves the
		// mail for the others, until told that it is alone.
		if p.Config("bcc_self") != "0" {
			p.SetConfig("bcc_self", "0")
			p.SetConfig("delete_server_after", "1")
		}
	}
}

func (x *exchange) join() {
	x.bob.chat, x.alice.chat = x.bob.Join(x.alice.Account, patience)
}

// say sends a text into the chat with the other.
func (p *person) say(text string) uint32 {
	id := p.SendText(p.chat, text)
	p.sent, p.texts = append(p.sent, id), append(p.texts, text)
	return id
}

func (x *exchange) texts() {
	id := x.alice.say("Hello Bob.")
	m := x.bob.WaitText("Hello Bob.", patience)
	if !m.Encrypted {
		x.t.Fatal("the first text came unencrypted")
	}
	x.alice.WaitState(id, StateDelivered, patience)
	// A dot, letters beyond ASCII and a long line are as good as any.
	for _, text := range []string{".", "Grüße, مرحبا, 你好 👋", strings.Repeat("long ", 400) + "line"} {
		x.bob.say(text)
		x.alice.WaitText(text, patience)
	}
}

func (x *exchange) group() {
	x.alice.group = x.alice.CreateGroup("Harbour")
	x.alice.AddContactToGroup(x.alice.group, x.alice.Contacts(x.alice.chat)[0])
	x.alice.sent = append(x.alice.sent, x.alice.SendText(x.alice.group, "Welcome to the harbour."))
	x.alice.groupTexts = []string{"Welcome to the harbour."}
	x.bob.group = x.bob.WaitText("Welcome to the harbour.", patience).Chat
	if x.bob.group == x.bob.chat {
		x.t.Fatal("the group's message came into the chat of two")
	}
	x.bob.AcceptChat(x.bob.group)
	x.bob.sent = append(x.bob.sent, x.bob.SendText(x.bob.group, "Here I am."))
	x.bob.groupTexts = []string{"Here I am."}
	if m := x.alice.WaitText("Here I am.", patience); m.Chat != x.alice.group {
		x.t.Fatal("the answer came into another chat")
	}
}

func (x *exchange) picture() {
	path := picture(x.t, 'a')
	x.alice.sent = append(x.alice.sent, x.alice.SendFile(x.alice.chat, "What I saw today.", path))
	x.alice.texts = append(x.alice.texts, "What I saw today.")
	m := x.bob.WaitText("What I saw today.", patience)
	m = x.bob.WaitDownloaded(m.ID, patience)
	if sum(x.t, m.File) != sum(x.t, path) {
		x.t.Fatalf("the picture of %d octets is not the one that was sent", m.FileBytes)
	}
}

func sum(t testing.TB, path string) [sha256.Size]byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read the picture: %v", err)
	}
	return sha256.Sum256(content)
}

func (x *exchange) receipt() {
	id := x.alice.say("Do you read me?")
	m := x.bob.WaitText("Do you read me?", patience)
	x.bob.MarkSeen(m.ID)
	x.alice.WaitState(id, StateRead, patience)
}

// restart sends before, while and after the relay is away. The relay stops
// with mail on its way; what cannot go out then must go out later.
func (x *exchange) restart() {
	// A core takes a relay that leaves between its STORE and the answer for
	// success, and leaves that message behind for ever. So nobody is to be
	// reading when the relay goes: Bob is away, and his mail is on its way.
	x.empty()
	x.bob.StopIO()
	for i := range 10 {
		x.alice.say(fmt.Sprintf("Just before, %d.", i))
	}
	x.relay.Stop()
	x.bob.StartIO()
	for i := range 3 {
		x.alice.say(fmt.Sprintf("While it is away, %d.", i))
		x.bob.say(fmt.Sprintf("While it is away, too, %d.", i))
	}
	// The cores must have noticed, or nothing was shown.
	for _, p := range []*person{&x.alice, &x.bob} {
		const notConnected = 1000
		p.waitConnectivity(func(c int) bool { return c <= notConnected }, patience)
	}
	x.relay.Start()
	x.alice.say("Is it back?")
	x.bob.say("It is back.")
	x.bob.WaitText("Is it back?", patience)
	x.alice.WaitText("It is back.", patience)
}

func (x *exchange) quick() {
	for i := range quick {
		x.alice.say(fmt.Sprintf("Quick %d.", i))
	}
	x.bob.WaitText(fmt.Sprintf("Quick %d.", quick-1), patience)
}

// once compares what was sent with what is there.
func (x *exchange) once() {
	for _, p := range []*person{&x.alice, &x.bob} {
		for _, id := range p.sent {
			if s := p.MessageState(id); s != StateRead {
				p.WaitState(id, StateDelivered, patience)
			}
		}
	}
	same := func(p *person, chat uint32, want []string) {
		x.t.Helper()
		var got []string
		for _, m := range p.Messages(chat) {
			if !m.Encrypted {
				x.t.Errorf("%s: message %d is not encrypted", p.Name, m.ID)
			}
			got = append(got, m.Text)
		}
		slices.Sort(got)
		want = slices.Sorted(slices.Values(want))
		if !slices.Equal(got, want) {
			x.t.Errorf("%s: the chat has %q, not %q", p.Name, got, want)
		}
	}
	chat := slices.Concat(x.alice.texts, x.bob.texts)
	group := slices.Concat(x.alice.groupTexts, x.bob.groupTexts)
	for _, p := range []*person{&x.alice, &x.bob} {
		same(p, p.chat, chat)
		same(p, p.group, group)
	}
}

func (x *exchange) empty() {
	x.relay.waitEmpty(x.alice.Account, patience)
	x.relay.waitEmpty(x.bob.Account, patience)
}
