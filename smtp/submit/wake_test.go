package submit

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"barid/smtp"
)

// woken notes who is woken, and because of whom.
type woken struct{ all []string }

func (w *woken) Notify(account, from smtp.Address) {
	w.all = append(w.all, fmt.Sprintf("%s for %s", account.Wire(), from.Wire()))
}

// Who got a message is told to the Waker, author included: whether own copies
// wake anybody is for it to say. Who did not get it is not told, and a message
// that is refused tells nobody. The author is woken for a notification.
func TestWhoGotTheMessageIsWoken(t *testing.T) {
	var w woken
	r := newRig(t, func(c *Config) { c.Wake = &w })
	r.store.full = map[smtp.Address]bool{address("carol@relay.test"): true}
	to := func(names ...string) string {
		text := "C: MAIL FROM:<alice@relay.test>\nS~ 250 .*\n"
		for _, n := range names {
			text += "C: RCPT TO:<" + n + "@relay.test>\nS~ 250 .*\n"
		}
		return text
	}
	r.play(t, "alice@relay.test",
		to("bob", "carol", "alice")+data+letter+"S~ 250 .*\n"+
			to("nobody")+data+letter+"S~ 550 .*\n"+
			toBob+data+strings.Replace(letter, "alice@", "bob@", 1)+"S~ 500 .*\n"+quit)
	want := []string{"bob@relay.test for alice@relay.test", "alice@relay.test for alice@relay.test", "alice@relay.test for "}
	if !slices.Equal(w.all, want) {
		t.Errorf("woken: %q", w.all)
	}
}
