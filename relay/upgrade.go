package relay

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"barid/internal/netserve"
	"barid/relay/wire"
)

// rawUpgrade is what the first generation asks for, in exactly these words and
// without a Connection header.
const rawUpgrade = "iroh derp http"

// ServeHTTP answers at the paths of the package comment and gives 404
// elsewhere. A connection that is upgraded is taken over.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/ping":
		s.servePing(w, r)
	case r.Method != http.MethodGet:
		http.NotFound(w, r)
	case r.URL.Path == "/relay", IsOldPath(r):
		s.serveRelay(w, r)
	default:
		http.NotFound(w, r)
	}
}

// IsOldPath tells whether a request is one for the relay at the path that it
// shares with DERP.
func IsOldPath(r *http.Request) bool {
	return r.URL.Path == "/derp" && r.Header.Get("Upgrade") == rawUpgrade
}

// servePing answers with nothing, to scripts of all sites too.
func (s *Server) servePing(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// offer is what a request asks for.
type offer struct {
	dialect  wire.Dialect
	carriage wire.Carriage
	accept   string // Sec-WebSocket-Accept
	chosen   string // Sec-WebSocket-Protocol, empty for none
}

func (s *Server) serveRelay(w http.ResponseWriter, r *http.Request) {
	s.count.requests.Inc()
	o, why := read(r)
	if why != "" {
		s.count.requestsOver.Inc()
		s.count.refusals.WithLabelValues("no upgrade").Inc()
		if r.Header.Get("Upgrade") != "" {
			w.Header().Set("Sec-WebSocket-Version", "13")
		}
		http.Error(w, why, http.StatusBadRequest)
		return
	}
	c := &client{s: s, dialect: o.dialect, carriage: o.carriage, place: placeOf(s.cfg.Client(r))}
	if status := s.enter(c); status != 0 {
		s.count.requestsOver.Inc()
		s.count.refusals.WithLabelValues("too many").Inc()
		w.Header().Set("Retry-After", "10")
		http.Error(w, http.StatusText(status), status)
		return
	}
	if err := s.begin(c, o, w, r); err != nil {
		s.count.requestsOver.Inc()
		s.count.requestsFailed.Inc()
		s.count.refusals.WithLabelValues("login").Inc()
		s.log.Debug("client did not log in", "protocol", o.dialect.String(), "error", err)
		c.source.release()
		if c.stream != nil {
			c.stream.Close()
			c.cut()
		}
		s.leave(c)
		return
	}
	// A fresh goroutine: the login has stretched the stack of this one, and
	// what the HTTP server keeps for it can go.
	go c.run()
}

// read judges a request; why is empty when there is an offer.
func read(r *http.Request) (o offer, why string) {
	h := r.Header
	switch upgrade := h.Get("Upgrade"); {
	case r.ProtoMajor != 1:
		return o, "this needs HTTP/1.1"
	case upgrade == rawUpgrade:
		return offer{dialect: wire.P3, carriage: wire.Stream}, ""
	case !strings.EqualFold(upgrade, "websocket"):
		return o, "this is for clients of an iroh relay"
	case !has(h, "Connection", "upgrade"):
		return o, "the Connection header does not ask for the upgrade"
	case h.Get("Sec-WebSocket-Version") != "13":
		return o, "websockets have version 13 here"
	}
	accept, ok := wire.WSAccept(h.Get("Sec-WebSocket-Key"))
	if !ok {
		return o, "Sec-WebSocket-Key is none"
	}
	o = offer{carriage: wire.WebSocket, accept: accept}
	if strings.TrimSpace(strings.Join(h.Values("Sec-WebSocket-Protocol"), "")) == "" {
		return o, "" // a browser of the first generation
	}
	for _, d := range []wire.Dialect{wire.V2, wire.V1} {
		if has(h, "Sec-WebSocket-Protocol", d.String()) {
			o.dialect, o.chosen = d, d.String()
			return o, ""
		}
	}
	return o, "no protocol that this relay speaks"
}

// has tells whether a header lists a word.
func has(h http.Header, name, word string) bool {
	for _, v := range h.Values(textproto.CanonicalMIMEHeaderKey(name)) {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), word) {
				return true
			}
		}
	}
	return false
}

// begin takes the connection over, answers the upgrade and lets the client log
// in. On an error the connection is as good as closed.
func (s *Server) begin(c *client, o offer, w http.ResponseWriter, r *http.Request) error {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, "this needs HTTP/1.1", http.StatusBadRequest)
		return errors.New("the connection cannot be taken over")
	}
	stream, rw, err := hijacker.Hijack()
	if err != nil {
		return fmt.Errorf("take over the connection: %w", err)
	}
	c.attach(stream, rw.Reader)
	if c.below != nil {
		c.below.SetPace(netserve.Pace{Stall: s.cfg.Stall})
	}
	stream.SetDeadline(time.Now().Add(loginTime))
	if err := s.ctx.Err(); err != nil { // before it could be woken
		return err
	}
	if o.carriage == wire.Stream {
		s.count.streams.Inc()
	} else {
		s.count.websockets.Inc()
	}
	how, err := c.login(o.answer(), r)
	if err != nil {
		return err
	}
	s.count.logins.WithLabelValues(c.dialect.String(), how).Inc()
	stream.SetReadDeadline(time.Time{}) // writers set their own, and may be at it
	c.heard.Store(int64(s.now()))
	// Only now, as the first beat may come at any time.
	c.pulse = time.AfterFunc(math.MaxInt64, c.beat)
	c.pulse.Reset(silence)
	return nil
}

// attach gives a client its connection, with what was read of it already.
func (c *client) attach(stream net.Conn, read *bufio.Reader) {
	c.s.mu.Lock()
	c.stream, c.below = stream, netserve.From(stream)
	c.s.mu.Unlock()
	c.messages.Max = c.dialect.Max()
	ahead, _ := read.Peek(read.Buffered())
	c.source.put(ahead)
}

// answer is the head of the answer to an upgrade.
func (o offer) answer() []byte {
	head := "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
	if o.carriage == wire.Stream {
		return []byte(head + "Upgrade: " + rawUpgrade + "\r\n\r\n")
	}
	head += "Upgrade: websocket\r\nSec-WebSocket-Accept: " + o.accept + "\r\n"
	if o.chosen != "" {
		head += "Sec-WebSocket-Protocol: " + o.chosen + "\r\n"
	}
	return []byte(head + "\r\n")
}

// Ways to log in, as the metrics name them.
const (
	bySignature = "signature"
	byChallenge = "challenge"
	byMaterial  = "key material"
)

// login sends the answer to the upgrade, and is over when the client may send
// packets: it is then a member.
func (c *client) login(answer []byte, r *http.Request) (how string, err error) {
	if c.dialect == wire.P3 {
		return bySignature, c.loginP3(answer)
	}
	// Only the login writes until it is over: the answer to a ping that came
	// early waits behind the confirmation, and so do packets.
	c.hold()
	k, ok := c.keyMaterial(r)
	if how = byMaterial; !ok {
		how = byChallenge
		if k, err = c.challenge(answer); err != nil {
			return how, err
		}
		answer = nil
	}
	c.key = k
	c.s.join(c)
	_, err = c.stream.Write(c.message(answer, wire.AppendConfirms(nil)))
	if err != nil {
		c.s.part(c)
		c.forget()
		return how, fmt.Errorf("confirm: %w", err)
	}
	c.release()
	return how, nil
}

// loginP3: the client has the first word, and hears nothing when all is well.
func (c *client) loginP3(answer []byte) error {
	if _, err := c.stream.Write(answer); err != nil {
		return fmt.Errorf("answer the upgrade: %w", err)
	}
	b, err := c.frame()
	if err != nil {
		return fmt.Errorf("read the first frame: %w", err)
	}
	if c.key, err = wire.ParseClientInfo(b); err != nil {
		return fmt.Errorf("first frame: %w", err)
	}
	c.s.join(c)
	return nil
}

// keyMaterial tries the login that stands in the request. It is ignored when
// it fits another connection, or cannot be read: a challenge follows.
func (c *client) keyMaterial(r *http.Request) (wire.Key, bool) {
	value := r.Header.Get(wire.AuthHeader)
	if value == "" || r.TLS == nil {
		return wire.Key{}, false
	}
	a, err := wire.ParseKeyAuth(value)
	if err != nil {
		return wire.Key{}, false
	}
	material, err := r.TLS.ExportKeyingMaterial(wire.ExporterLabel, a.Key[:], wire.MaterialSize)
	if err != nil || a.Verify(material) != nil {
		return wire.Key{}, false
	}
	return a.Key, true
}

// challenge lets the client sign something that is new.
func (c *client) challenge(answer []byte) (wire.Key, error) {
	var ch wire.Challenge
	rand.Read(ch[:]) // never fails, see crypto/rand
	if _, err := c.stream.Write(c.message(answer, wire.AppendChallenge(nil, ch))); err != nil {
		return wire.Key{}, fmt.Errorf("send the challenge: %w", err)
	}
	b, err := c.frame()
	if err != nil {
		return wire.Key{}, fmt.Errorf("read the answer to the challenge: %w", err)
	}
	k, err := wire.ParseClientAuth(b, ch)
	if err != nil {
		c.stream.Write(c.message(nil, wire.AppendDenies(nil, wire.ErrSignature.Error()))) // he may have left
		return wire.Key{}, fmt.Errorf("answer to the challenge: %w", err)
	}
	return k, nil
}

// message puts a frame of the login behind b.
func (c *client) message(b, frame []byte) []byte {
	return wire.AppendWSMessage(b, wire.WSBinary, frame)
}
