package receive

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestDelivery(t *testing.T) {
	r := newRig(t, nil)
	to := []string{"bob@relay.test"}
	dotted := r.sign(t, strings.Replace(encrypted(writer), "\r\n\r\n--b", "\r\n\r\n.preamble\r\n..\r\n--b", 1))
	if status, text := r.post(t, writer, to, stuffed(dotted)); status != 200 || text != "250 OK" {
		t.Fatalf("%d %q", status, text)
	}
	if status, text := r.post(t, "", []string{"<Alice@relay.test>", " bob+x@relay.test "}, stuffed(dotted)); status != 200 || text != "250 OK" {
		t.Fatalf("%d %q", status, text)
	}
	got := r.mail(t, "bob")
	if len(got) != 2 || !strings.Contains(got[0], "\r\n\r\n.preamble\r\n..\r\n") || !strings.HasPrefix(got[0], "Return-Path: <"+writer+">") || !strings.HasPrefix(got[1], "Return-Path: <>") {
		t.Errorf("bob has %q", got)
	}
	if len(r.mail(t, "alice")) != 1 {
		t.Error("alice has nothing")
	}
}

func TestAnEnvelopeThatIsNone(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRecipients = 2 })
	m := r.sign(t, encrypted(writer))
	for _, c := range []struct {
		from string
		to   []string
		want string
	}{
		{writer, nil, "554 5.5.1 Error: no valid recipients"},
		{writer, []string{""}, "501 5.1.3 Bad recipient address syntax"},
		{writer, []string{"bob@relay.test", "bob"}, "501 5.1.3 Bad recipient address syntax"},
		{writer, []string{"bob@relay.test", "x@elsewhere.test"}, "554 5.7.1 <x@elsewhere.test>: Relay access denied"},
		{writer, []string{"a@relay.test", "b@relay.test", "c@relay.test"}, "452 4.5.3 Error: too many recipients"},
		{"writer", []string{"bob@relay.test"}, "501 5.1.7 Bad sender address syntax"},
		{writer, []string{"bob@relay.test, alice@relay.test"}, "501 5.1.3 Bad recipient address syntax"},
	} {
		if status, text := r.post(t, c.from, c.to, m); status != 400 || text != c.want {
			t.Errorf("%s to %q: %d %q", c.from, c.to, status, text)
		}
	}
	r.nothing(t, "no envelope")
	q := httptest.NewRequest(http.MethodPost, "https://relay.test/mxdeliv", strings.NewReader(m))
	q.Header.Add("X-MAIL-FROM", writer)
	q.Header.Add("X-MAIL-FROM", writer)
	q.Header.Add("X-MAIL-TO", "bob@relay.test")
	w := httptest.NewRecorder()
	r.Deliver(nobodyKnown).ServeHTTP(w, q)
	if w.Code != 400 || w.Body.String() != "501 5.1.7 Bad sender address syntax" {
		t.Errorf("two senders: %d %q", w.Code, w.Body)
	}
}

func nobodyKnown(*http.Request) netip.Addr { return netip.Addr{} }

func TestOtherRequests(t *testing.T) {
	r := newRig(t, nil)
	h := r.Deliver(nobodyKnown)
	for _, method := range []string{"GET", "HEAD", "PUT"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "https://relay.test/mxdeliv", nil))
		if w.Code != 405 || w.Body.String() != "Method Not Allowed" || w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: %d %q", method, w.Code, w.Body)
		}
	}
	q := httptest.NewRequest("POST", "https://relay.test/mxdeliv", iotest.ErrReader(fmt.Errorf("not to be read")))
	q.ContentLength = 1 << 40
	q.Header.Set("X-MAIL-TO", "bob@relay.test")
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, q); w.Code != 413 || w.Body.String() != "552 Message exceeds maximum size" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// A body that ends before its length never counts as delivered, and neither
// does one that stops.
func TestABodyThatDoesNotComeWhole(t *testing.T) {
	r := newRig(t, nil)
	server := httptest.NewServer(r.Deliver(nobodyKnown))
	defer server.Close()
	m := r.sign(t, encrypted(writer))
	for name, head := range map[string]string{
		"by length":  fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(m)+10, m),
		"in chunks":  fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(m), m),
		"at a chunk": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s", len(m)+10, m),
		"no length":  "\r\n" + m,
	} {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST /mxdeliv HTTP/1.1\r\nHost: relay.test\r\nX-MAIL-FROM: %s\r\nX-MAIL-TO: bob@relay.test\r\n%s", writer, head)
		c.(*net.TCPConn).CloseWrite()
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			text, _ := io.ReadAll(response.Body)
			if response.StatusCode != 400 {
				t.Errorf("%s: %d %q", name, response.StatusCode, text)
			}
		}
		c.Close()
	}
	r.nothing(t, "cut")
}

// deadlines notes the deadlines a body is read with.
type deadlines struct {
	*httptest.ResponseRecorder
	read []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.read = append(d.read, t); return nil }

// Each read has a deadline: a minute of silence, and an end for all of it
// that only octets move on.
func TestABodyHasDeadlines(t *testing.T) {
	d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	b := &paced{r: strings.NewReader("x"), to: http.NewResponseController(d), begun: time.Now()}
	b.Read(make([]byte, 1))
	if left := time.Until(d.read[0]); left < 55*time.Second || left > time.Minute {
		t.Errorf("silence may last %v", left)
	}
	b = &paced{r: iotest.ErrReader(io.ErrUnexpectedEOF), to: b.to, begun: time.Now().Add(-10 * time.Minute), n: 1000}
	if _, err := b.Read(make([]byte, 1)); err != replyCut {
		t.Error(err)
	}
	if !d.read[1].Before(time.Now()) {
		t.Errorf("1,000 octets in ten minutes may go on until %v", d.read[1])
	}
}
