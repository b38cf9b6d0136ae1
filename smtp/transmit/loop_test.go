package transmit

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Mail that would come back to us ends here, by whatever way it would come:
// an exchanger with our name, an address of ours, or a port that somebody
// forwards to us, behind which we hear ourselves.
func TestMailThatWouldComeBackIsRefused(t *testing.T) {
	w := newWorld(t)
	other := w.mail("mx.peer.test", &mta{after: "250 2.0.0 x"})
	never := w.mail("backup.peer.test", &mta{after: "250 2.0.0 x"})
	mirror := w.mail("mirror.test", &mta{banner: "220 Relay.test ESMTP", after: "250 2.0.0 x"})
	ours := w.newHost("ours.test")
	w.exchangers("ours-by-name.test", "relay.test", "backup.peer.test")
	w.exchangers("ours-second.test", "mx.peer.test", "relay.test", "backup.peer.test")
	w.exchangers("ours-by-address.test", "ours.test")
	tr := w.transmitter(func(c *Config) {
		c.Names = []string{"relay.test"}
		c.Ours = func(a netip.AddrPort) bool { return a.Addr().String() == ours }
	})
	for dest, want := range map[string]string{
		"ours-by-name.test": "554 5.4.6", "ours-by-address.test": "554 5.4.6", "[" + ours + "]": "554 5.4.6", "mirror.test": "554 5.4.6",
		"ours-second.test": "250 2.0.0",
	} {
		if out := tr.Deliver(t.Context(), dest, letter(dest, "a")); outcome(out) != want {
			t.Errorf("%s: %s, want %s: %s", dest, outcome(out), want, out.Per[0].Text)
		}
	}
	if len(other.taken()) != 1 || never.count() != 0 || len(mirror.taken()) != 0 {
		t.Errorf("mx %d, backup %d, mirror %d", len(other.taken()), never.count(), len(mirror.taken()))
	}
}

// A relay that refuses all of several recipients for the sake of one is asked
// about each, where port 25 cannot tell.
func TestOneOfManyRefusedByHTTPSCostsOnlyHim(t *testing.T) {
	for what, change := range map[string]func(*Config){
		"port 25 is known to be shut": func(c *Config) { c.HTTPSOnly = true },
		"port 25 does not answer":     nil,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			good := &relay{status: http.StatusOK}
			w.web("peer.test", false, func(rw http.ResponseWriter, q *http.Request) {
				if strings.Contains(strings.Join(q.Header["X-Mail-To"], " "), "strict") {
					rw.WriteHeader(http.StatusBadRequest)
					fmt.Fprint(rw, "523 Encryption Needed")
					return
				}
				good.ServeHTTP(rw, q)
			})
			tr := w.transmitter(change)
			for range 2 {
				out := tr.Deliver(t.Context(), "peer.test", letter("peer.test", "a", "strict", "b"))
				if outcome(out) != "250 2.0.0, 523 , 250 2.0.0" || !out.Reached || out.Channel != HTTPS {
					t.Errorf("%s by %q", outcome(out), out.Channel)
				}
			}
			if got := good.taken(); len(got) != 4 {
				t.Errorf("the relay has %q", got)
			}
		})
	}
}

// Who asks to try later for ever is asked again later, each time.
func TestLaterForEverStaysLater(t *testing.T) {
	w := newWorld(t)
	m := w.mail("peer.test", &mta{rcpt: func(string) string { return "450 4.2.0 greylisted" }})
	tr := w.transmitter(nil)
	for range 3 {
		out := tr.Deliver(t.Context(), "peer.test", letter("peer.test", "a"))
		if outcome(out) != "450 4.2.0" || !out.Reached {
			t.Errorf("%s, reached %v", outcome(out), out.Reached)
		}
	}
	if m.count() != 1 {
		t.Errorf("%d connections", m.count())
	}
}

// Peers that stall in the middle are given up when their time is over; before
// the content has left another host may have the message, after it none.
func TestAStallEndsTheAttempt(t *testing.T) {
	for what, c := range map[string]struct {
		stalls  string
		want    string
		reached bool
	}{
		"at MAIL":        {"MAIL", "421 4.4.1", false},
		"at RCPT":        {"RCPT", "421 4.4.1", false},
		"at DATA":        {"DATA", "421 4.4.1", false},
		"at its content": {".", "451 4.4.2", true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.mail("peer.test", &mta{after: "250 x", stallAt: c.stalls})
			tr := w.transmitter(func(c *Config) { c.Session = 400 * time.Millisecond })
			began := time.Now()
			out := tr.Deliver(t.Context(), "peer.test", letter("peer.test", "a"))
			if outcome(out) != c.want || out.Reached != c.reached || time.Since(began) > 5*time.Second {
				t.Errorf("%s, reached %v, after %v: %s", outcome(out), out.Reached, time.Since(began), out.Per[0].Text)
			}
		})
	}
}

// A relay that is lost once it has all of a message may have taken it: by
// another way now it would come twice. One that never had all of it cannot.
func TestAnAnswerThatDoesNotComeByHTTPSDoublesNothing(t *testing.T) {
	sized := func(octets int) Message {
		m := letter("peer.test", "a")
		m.Content = content(strings.Repeat(strings.Repeat("x", 70)+"\r\n", octets/72))
		return m
	}
	for what, c := range map[string]struct {
		message Message
		handle  func(http.ResponseWriter, *http.Request)
		want    string
		bySMTP  int
	}{
		"a reset behind the content": {letter("peer.test", "a"), func(_ http.ResponseWriter, q *http.Request) {
			io.Copy(io.Discard, q.Body)
			panic(http.ErrAbortHandler)
		}, "451 4.4.2", 0},
		"no answer": {letter("peer.test", "a"), func(_ http.ResponseWriter, q *http.Request) {
			io.Copy(io.Discard, q.Body)
			<-q.Context().Done()
		}, "451 4.4.2", 0},
		"no answer to a large one": {sized(2 * inMemory), func(_ http.ResponseWriter, q *http.Request) {
			io.Copy(io.Discard, q.Body)
			<-q.Context().Done()
		}, "451 4.4.2", 0},
		"the content is never read": {sized(8 << 20), func(http.ResponseWriter, *http.Request) {
			<-t.Context().Done() // its own ends with the body
			panic(http.ErrAbortHandler)
		}, "250 2.0.0", 1},
		"an answer without an end": {letter("peer.test", "a"), func(w http.ResponseWriter, q *http.Request) {
			io.Copy(io.Discard, q.Body)
			io.WriteString(w, "250 ")
			w.(http.Flusher).Flush()
			<-q.Context().Done()
		}, "250 2.0.0", 0},
	} {
		for _, version := range []string{"h2", "http/1.1"} {
			t.Run(what+" by "+version, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				m := w.mail("peer.test", &mta{after: "250 2.0.0 x"})
				w.web("peer.test", false, c.handle)
				tr := w.transmitter(nil)
				tr.quietly = time.Second
				for _, web := range tr.web {
					if version != "h2" {
						web.Transport.(*http.Transport).ForceAttemptHTTP2 = false
					}
				}
				tr.known.note("peer.test", HTTPS, true, time.Millisecond)
				began := time.Now()
				out := tr.Deliver(t.Context(), "peer.test", c.message)
				if outcome(out) != c.want || !out.Reached || len(m.taken()) != c.bySMTP || time.Since(began) > 10*time.Second {
					t.Errorf("%s by %q, %d by SMTP, after %v: %s", outcome(out), out.Channel, len(m.taken()), time.Since(began), out.Per[0].Text)
				}
				if out := tr.Deliver(t.Context(), "peer.test", c.message); c.want[0] == '4' && (outcome(out) != "250 2.0.0" || out.Channel != SMTP) {
					t.Errorf("then %s by %q", outcome(out), out.Channel)
				}
			})
		}
	}
}
