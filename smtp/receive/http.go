package receive

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"barid/smtp"
	"barid/smtp/wire"
)

// How long a body may take: silence, and all of it at the least speed that is
// put up with, as on port 25.
const (
	bodySilence = time.Minute
	bodyFloor   = 256 // octets per second
	bodyGrace   = 3 * time.Minute
)

var (
	replyCut       = smtp.NewReply(451, "4.4.2", "The body did not come whole, or too slowly")
	replyDelivered = smtp.NewReply(250, "", "OK")
)

// The header fields, as net/http spells them.
const (
	headerMailFrom = "X-Mail-From"
	headerMailTo   = "X-Mail-To"
)

// Deliver is an http.Handler for POST /mxdeliv: one message, its reverse-path
// in X-MAIL-FROM, a recipient in each X-MAIL-TO, the content as the body, dots
// doubled as in DATA, without the dot that ends it. It answers 200 and "250
// OK", or 400 and the reply that port 25 would have given.
//
// Client tells who sends a request; the zero Addr when that is not known.
func (s *Server) Deliver(client func(*http.Request) netip.Addr) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=us-ascii")
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			w.WriteHeader(http.StatusMethodNotAllowed)
			io.WriteString(w, "Method Not Allowed")
			return
		}
		t := &transaction{srv: s, channel: "https", client: client(r), size: min(max(r.ContentLength, 0), s.cfg.MaxMessageSize)}
		reply := s.reply(t.deliverHTTP(w, r))
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bodySilence)) // the body may have outlasted the server's own
		answer(w, reply)
	})
}

// deliverHTTP is the transaction of one request.
func (t *transaction) deliverHTTP(w http.ResponseWriter, r *http.Request) error {
	if err := t.envelope(r.Header); err != nil {
		return err
	}
	// Doubled dots count in the length, and only the content counts for us.
	if r.ContentLength > 2*t.srv.cfg.MaxMessageSize {
		return replyTooBig
	}
	body := &paced{r: r.Body, to: http.NewResponseController(w), begun: time.Now()}
	return t.take(r.Context(), &plain{r: body, left: t.srv.cfg.MaxMessageSize})
}

// envelope reads the two header fields.
func (t *transaction) envelope(h http.Header) error {
	var from smtp.Path
	switch values := h[headerMailFrom]; {
	case len(values) > 1:
		return wire.BadSender
	case len(values) == 1 && bare(values[0]) != "":
		a, err := smtp.ParseAddress(bare(values[0]))
		if err != nil {
			return wire.BadSender
		}
		from = smtp.Path{Address: a}
	}
	to := h[headerMailTo]
	switch {
	case len(to) == 0:
		return wire.NoRecipients
	case len(to) > t.srv.cfg.MaxRecipients:
		return wire.ManyRecipients
	}
	if r := t.begin(from); r != nil {
		return r
	}
	for _, value := range to {
		a, err := smtp.ParseAddress(bare(value))
		if err != nil {
			return wire.BadRecipient
		}
		if r := t.add(a); r != nil {
			return r
		}
	}
	return nil
}

// bare takes blanks and angle brackets off.
func bare(s string) string {
	s = strings.TrimSpace(s)
	if inner, ok := strings.CutPrefix(s, "<"); ok && strings.HasSuffix(inner, ">") {
		return strings.TrimSuffix(inner, ">")
	}
	return s
}

// reply gives what the sender reads; a fault of ours goes to the log.
func (s *Server) reply(err error) *smtp.Reply {
	if err == nil {
		return replyDelivered
	}
	if _, ok := errors.AsType[*smtp.Reply](err); !ok {
		s.log.Error("mxdeliv failed", "error", err)
	}
	return smtp.AsReply(err)
}

// answer writes a reply with the status that senders know: 200 exactly, 413
// for content that is too large, 400 for all else.
func answer(w http.ResponseWriter, r *smtp.Reply) {
	status := http.StatusBadRequest
	switch {
	case r.Code/100 == 2:
		status = http.StatusOK
	case r == replyTooBig:
		status = http.StatusRequestEntityTooLarge
	}
	w.WriteHeader(status)
	io.WriteString(w, r.Wire())
}

// paced is a body that must keep coming. The deadline lies on the connection,
// or on the stream of HTTP/2.
type paced struct {
	r     io.Reader
	to    *http.ResponseController
	begun time.Time
	n     int64
}

func (b *paced) Read(p []byte) (int, error) {
	end := b.begun.Add(bodyGrace + time.Duration(b.n/bodyFloor)*time.Second)
	if soon := time.Now().Add(bodySilence); soon.Before(end) {
		end = soon
	}
	b.to.SetReadDeadline(end) // where there is none the server's own holds
	n, err := b.r.Read(p)
	b.n += int64(n)
	if err != nil && err != io.EOF {
		return n, replyCut
	}
	return n, err
}
