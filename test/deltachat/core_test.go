package deltachat

import (
	"strings"
	"testing"
	"time"
)

// The pinned core answers, and says which one it is.
func TestCoreAnswers(t *testing.T) {
	c := Start(t, Options{})
	if v := c.SystemInfo()["deltachat_core_version"]; !strings.Contains(v, "2.57.0") {
		t.Fatalf("core version %q", v)
	}
}

// What the core refuses comes back as an error, and a wait that nothing
// answers ends.
func TestRefusalsAreErrors(t *testing.T) {
	c := Start(t, Options{})
	a := c.AddAccount("Alice")
	if got := a.Config("displayname"); got != "Alice" {
		t.Fatalf("display name %q", got)
	}
	if err := a.TryConfigure("dclogin:nonsense"); err == nil {
		t.Fatal("nonsense was configured")
	}
	if err := c.Call(nil, "no_such_method"); err == nil {
		t.Fatal("a method that does not exist gave no error")
	}
	if _, err := a.waitEvent("NoSuchEvent", nil, time.Millisecond); err == nil {
		t.Fatal("an event that never came was waited for with success")
	}
}

// A password never reaches the log of a core.
func TestLogHidesPasswords(t *testing.T) {
	l := newCoreLog(t, "core")
	l.printf("call %s", `["dclogin:alice@relay.test?p=secretalice1&v=1&ipw=secretalice2&spw=secretalice3"]`)
	if got := strings.Join(l.tail, "\n"); strings.Contains(got, "secret") || !strings.Contains(got, "&v=1") {
		t.Fatal(got)
	}
}

// An event is taken once.
func TestWaitEventTakesEachEventOnce(t *testing.T) {
	c := &Core{t: t, dead: make(chan struct{})}
	a := &Account{core: c, changed: make(chan struct{})}
	a.take(Event{Kind: "MsgRead", Message: 1})
	a.take(Event{Kind: "IncomingMsg", Message: 2})
	a.take(Event{Kind: "MsgRead", Message: 3})
	third := func(e Event) bool { return e.Message == 3 }
	if e := a.WaitEvent("MsgRead", third, time.Second); e.Message != 3 {
		t.Fatalf("%+v", e)
	}
	if e := a.WaitEvent("MsgRead", nil, time.Second); e.Message != 1 {
		t.Fatalf("%+v", e)
	}
	if _, err := a.waitEvent("MsgRead", nil, time.Millisecond); err == nil {
		t.Fatal("a third one")
	}
	a.Forget("IncomingMsg")
	if len(a.events) != 0 {
		t.Fatalf("%+v", a.events)
	}
}
