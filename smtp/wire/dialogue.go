package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"barid/internal/netserve"
	"barid/smtp"
)

// dialogue is one connection: the library's Backend and its Session, in one.
//
// The library calls it from one goroutine, except that content sent with BDAT
// is read in another, which can outlive its transaction by a moment; see
// enter.
type dialogue struct {
	srv *Server
	ctx context.Context
	nc  *netserve.Conn
	lib *gosmtp.Server
	ear ear

	// Used by the library's goroutine only.
	conn      *gosmtp.Conn
	sess      Session
	shook     bool // STARTTLS went well
	private   bool // TLS, or none is wanted
	loggedIn  bool
	badLogins int
	errors    int
	commands  int
	began     bool // a MAIL was taken since the library forgot
	taken     int  // recipients since then
	gone      bool // the library closed the connection
	chunks    bool // more of them are to come

	drained chan struct{} // closed when drain was called

	mu       sync.Mutex // guards the fields below
	idle     sync.Cond  // chunked or entered changed
	chunked  int        // readers of BDAT that are at work
	entered  bool       // the present transaction has one, or had
	open     bool       // a transaction is open
	rcpts    int        // of it
	draining bool
	leaving  bool // close after the next reply
	dead     bool // nothing is executed any more
}

func newDialogue(ctx context.Context, s *Server, c *netserve.Conn) *dialogue {
	d := &dialogue{srv: s, ctx: ctx, nc: c, drained: make(chan struct{})}
	d.idle.L = &d.mu
	d.ear = ear{owed: true, onLine: d.onLine, onReply: d.onReply, onShake: d.onShake, refuses: d.refusesChunks}
	d.ear.disguises = func() bool { return d.sess != nil }
	d.ear.postmaster = s.cfg.Domain != ""
	d.lib = s.library(d)
	return d
}

func (d *dialogue) log() *slog.Logger { return d.srv.cfg.Logger }

// fault logs what went wrong on our side.
func (d *dialogue) fault(what string, err error) {
	d.log().Error("smtp: "+what, "error", err)
}

func (d *dialogue) commandPace() netserve.Pace {
	return netserve.Pace{Silence: d.srv.cfg.Idle, Stall: stall}
}

// onLine sees each command before it is executed.
func (d *dialogue) onLine(line string) {
	if d.commands++; d.commands > d.srv.cfg.MaxCommands {
		d.say(replyManyCommands)
	}
	word, _, _ := strings.Cut(line, " ")
	switch word {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodConnect, http.MethodOptions:
		d.say(replyForeign)
	}
}

// say speaks past the library and ends the connection.
func (d *dialogue) say(r *smtp.Reply) {
	if d.conn == nil && d.shook {
		d.kill() // the library has not shown us the TLS layer yet
	} else if d.end() {
		io.WriteString(d.stream(), r.Wire()+"\r\n")
		d.stream().Close()
	}
}

// onReply sees each reply after it was sent.
func (d *dialogue) onReply(line string, code int) {
	if _, last, ok := chunk(line); ok && !d.refusesChunks() {
		d.chunks = code == 250 && !last
		if code == 250 {
			d.awaitReader()
		}
	}
	if d.ear.shaking {
		if len(d.ear.pending) > 0 {
			// Octets in the clear behind STARTTLS (RFC 3207 section 6).
			d.kill()
			return
		}
		d.nc.SetDeadline(time.Now().Add(shakeTime))
	}
	d.mu.Lock()
	leaving := d.leaving && !d.dead
	d.mu.Unlock()
	if leaving && d.end() {
		d.stream().Close()
	}
}

// onShake hears how the handshake went. After a failed one the library would
// go on in the clear.
func (d *dialogue) onShake(failed bool) {
	if failed {
		d.kill()
		return
	}
	d.shook = true
	d.nc.SetDeadline(time.Time{})
	if d.isDraining() {
		d.wake()
	}
}

// stream is what the peer reads from: the library's, when it started TLS.
func (d *dialogue) stream() io.WriteCloser {
	if d.conn != nil {
		return d.conn.Conn()
	}
	return d.nc.Stream()
}

// end marks the dialogue as over and tells whether it was not before.
func (d *dialogue) end() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.dead
	d.dead = true
	return !was
}

func (d *dialogue) ended() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead || d.leaving
}

// kill closes at once and lets nothing more be executed.
func (d *dialogue) kill() {
	d.end()
	d.nc.Close()
}

// hangUp closes after the reply that is about to be sent.
func (d *dialogue) hangUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leaving = true
}

// refused counts a refusal and gives it as the library wants it.
func (d *dialogue) refused(r *smtp.Reply) error {
	if d.errors++; d.errors > d.srv.cfg.MaxErrors {
		d.hangUp()
		return lib(replyManyErrors)
	}
	return lib(r)
}

// answer turns what a Session says into a refusal.
func (d *dialogue) answer(what string, err error) error {
	if !isReply(err) {
		d.fault(what, err)
	}
	r := smtp.AsReply(err)
	if r.Code/100 < 4 {
		d.fault(what, fmt.Errorf("reply %d returned as error", r.Code))
		r = smtp.AsReply(errors.New("not a refusal"))
	}
	return d.refused(r)
}

// rescue, deferred, turns a panic of a Session into the end of this one
// connection, and into the error given.
func (d *dialogue) rescue(what string, err *error, reply error) {
	if cause := recover(); cause != nil {
		d.log().Error("smtp: panic in "+what, "cause", cause, "stack", string(debug.Stack()))
		d.hangUp()
		*err = reply
	}
}

// NewSession is called at EHLO: the first, and the first after STARTTLS.
func (d *dialogue) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	if d.ended() {
		return nil, lib(replyEnded)
	}
	d.conn = c
	_, isTLS := c.TLSConnectionState()
	d.private = isTLS || d.srv.cfg.InTheClear
	sess, r := d.srv.cfg.Begin(d.ctx, Peer{Client: d.nc.Client(), Hello: c.Hostname(), TLS: isTLS})
	if r != nil {
		d.hangUp()
		return nil, lib(r)
	}
	d.sess, d.loggedIn = sess, false
	return d, nil
}

// Mail begins a transaction. One that is open ends, as RSET would end it.
func (d *dialogue) Mail(from string, opts *gosmtp.MailOptions) (err error) {
	defer d.rescue("mail", &err, lib(replyPanic))
	switch {
	case d.ended():
		return lib(replyEnded)
	case d.isDraining():
		d.hangUp()
		return lib(replyDrain)
	case !d.private:
		return d.refused(replyNoTLS)
	}
	path, unquoted, err := parsePath(d.ear.line, "FROM:", true)
	if err != nil {
		return d.refused(BadSender)
	}
	if !d.heard(from, unquoted) {
		return d.lost()
	}
	d.reset()
	if opts.Size > d.srv.cfg.MaxMessageSize {
		return d.refused(replyTooBig)
	}
	params := MailParams{Size: opts.Size, EightBit: opts.Body == gosmtp.Body8BitMIME}
	if err := d.sess.Mail(d.ctx, path, params); err != nil {
		return d.answer("mail", err)
	}
	// Content is measured by our own reader, which is exact; the library's
	// bound would refuse content of just the size that was announced.
	d.lib.MaxMessageBytes = 0
	if err := d.begin(); err != nil {
		return err
	}
	d.began = true
	return nil
}

// begin opens a transaction unless we are draining since a moment.
func (d *dialogue) begin() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.draining {
		d.leaving = true
		return lib(replyDrain)
	}
	d.open, d.rcpts = true, 0
	return nil
}

// heard tells whether the ear heard the command that is executed. It did not
// when the connection ended in the middle of a line, which the library takes
// for a whole one, or when a reply could not be sent.
func (d *dialogue) heard(path, unquoted string) bool {
	return d.ear.owed && path == unquoted
}

// lost ends a dialogue in which the ear and the library disagree.
func (d *dialogue) lost() error {
	d.log().Debug("smtp: the command heard is not the one executed")
	d.hangUp()
	return lib(replyEnded)
}

// Rcpt adds a recipient.
func (d *dialogue) Rcpt(to string, _ *gosmtp.RcptOptions) (err error) {
	defer d.rescue("rcpt", &err, lib(replyPanic))
	if d.ended() {
		return lib(replyEnded)
	}
	path, unquoted, err := d.forwardPath()
	if err != nil {
		return d.refused(BadRecipient)
	}
	if !d.heard(to, unquoted) {
		return d.lost()
	}
	// The library forgets its recipients at RSET and after content, not at a
	// second MAIL; they must not pile up.
	if d.taken >= 4*d.srv.cfg.MaxRecipients {
		d.hangUp()
		return lib(replyManyErrors)
	}
	d.mu.Lock()
	full := d.rcpts >= d.srv.cfg.MaxRecipients
	d.mu.Unlock()
	if full {
		return lib(ManyRecipients)
	}
	if err := d.sess.Rcpt(d.ctx, path.Address); err != nil {
		return d.answer("rcpt", err)
	}
	d.mu.Lock()
	d.rcpts++
	d.mu.Unlock()
	d.taken++
	return nil
}

// forwardPath reads the path of the RCPT that is executed.
func (d *dialogue) forwardPath() (path smtp.Path, unquoted string, err error) {
	line := d.ear.line
	if at := barePostmaster(line); at > 0 && d.ear.postmaster {
		local := line[at : at+len(disguisedPostmaster)]
		return smtp.Path{Address: smtp.Address{LocalPart: local, Domain: d.srv.cfg.Domain}}, disguisedPostmaster, nil
	}
	return parsePath(line, "TO:", false)
}

func (d *dialogue) isDraining() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.draining
}

func (d *dialogue) inTransaction() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// refusesChunks tells what the library thinks of BDAT just now.
func (d *dialogue) refusesChunks() bool { return !d.began || d.taken == 0 }

// Reset is called at RSET, EHLO, and after content.
func (d *dialogue) Reset() {
	if d.chunks {
		// The library could take what the reader of these chunks says for the
		// verdict on the next transaction. So there is none.
		d.kill()
	}
	d.began, d.taken, d.chunks = false, 0, false
	d.lib.MaxMessageBytes = d.srv.cfg.MaxMessageSize
	d.reset()
	d.mu.Lock()
	d.entered = false
	d.mu.Unlock()
}

// reset ends the transaction that is open.
func (d *dialogue) reset() {
	d.mu.Lock()
	for d.chunked > 0 {
		d.idle.Wait()
	}
	was := d.open
	d.open, d.rcpts = false, 0
	draining := d.draining
	d.mu.Unlock()
	if was && d.sess != nil {
		d.sess.Reset()
	}
	if draining {
		d.wake()
	}
}

// Logout ends the session: at STARTTLS, and when the library closes the
// connection. After that it would go on with the commands that it has
// buffered, now without a Session: it panics over each, and in BDAT waits for
// itself for ever. So its goroutine, which is the one that calls Logout, ends
// here; what it deferred is done.
func (d *dialogue) Logout() error {
	d.reset()
	if d.sess != nil {
		d.sess.Close()
		d.sess = nil
	}
	if d.ear.shaking || d.gone {
		return nil
	}
	d.gone = true
	d.end()
	d.stream().Close()
	runtime.Goexit()
	return nil
}

// drain lets the open transaction finish and then ends the dialogue.
func (d *dialogue) drain() {
	defer close(d.drained)
	d.mu.Lock()
	d.draining = true
	open := d.open
	d.mu.Unlock()
	if !open {
		d.wake()
	}
}

// wake makes the wait for the next command fail. The library then says 421.
func (d *dialogue) wake() { d.nc.SetReadDeadline(time.Unix(1, 0)) }
