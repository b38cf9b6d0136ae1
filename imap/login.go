package imap

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"barid/imap/wire"
	"barid/internal/netserve"
	"barid/smtp"
	"barid/storage"
)

// errRefused tells that a login failed for what the client sent.
var errRefused = errors.New("login refused")

func (s *session) loginCommand(c *wire.Command) (string, error) {
	if !s.mayLogin() {
		return noReply, refusal("[PRIVACYREQUIRED] Use STARTTLS first")
	}
	c.SP()
	name := c.AString()
	c.SP()
	password := c.AString()
	if err := c.End(); err != nil {
		return noReply, err
	}
	if err := s.login(name, storage.Password(password)); err != nil {
		return noReply, s.loginError(c.Tag, err)
	}
	return "OK [CAPABILITY " + s.sv.afterLog + "] Logged in", nil
}

func (s *session) authenticate(c *wire.Command) (string, error) {
	if !s.mayLogin() {
		return noReply, refusal("[PRIVACYREQUIRED] Use STARTTLS first")
	}
	if mechanism := c.Word(); c.Err() == nil && mechanism != "PLAIN" {
		return noReply, refusal("[CANNOT] Unsupported mechanism")
	}
	response, err := s.saslResponse(c)
	if err != nil {
		return noReply, err
	}
	raw, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return noReply, wire.SyntaxError("Bad base64")
	}
	part := strings.Split(string(raw), "\x00")
	if len(part) != 3 {
		return noReply, wire.SyntaxError("Bad PLAIN response")
	}
	err = errRefused
	if part[0] == "" || part[0] == part[1] {
		err = s.login(part[1], storage.Password(part[2]))
	}
	if err != nil {
		return noReply, s.loginError(c.Tag, err)
	}
	s.asked = true // the full list, in the answer
	return "OK [CAPABILITY " + s.capabilities() + "] Logged in", nil
}

// saslResponse takes the initial response (RFC 4959), or asks for one.
func (s *session) saslResponse(c *wire.Command) (string, error) {
	if c.More() {
		c.SP()
		r := c.AString()
		if r == "=" {
			r = ""
		}
		return r, c.End()
	}
	if err := c.End(); err != nil {
		return "", err
	}
	s.writer().Raw("+ \r\n")
	if err := s.writer().Flush(); err != nil {
		return "", err
	}
	line, err := s.in.Line(limitsBefore.Line)
	if err == nil && line == "*" {
		err = wire.SyntaxError("AUTHENTICATE cancelled")
	}
	return line, err
}

// login asks the store. The buffers go back meanwhile: in a storm of logins
// many wait for their turn.
func (s *session) login(name string, password storage.Password) error {
	address, err := smtp.ParseAddress(name)
	if err != nil {
		return errRefused
	}
	network := s.sv.penalties.key(s.conn.Client())
	if s.sv.penalties.busy(network, address.Fold()) {
		return refusal("[UNAVAILABLE] Too many logins failed, please try again later")
	}
	s.releaseReader()
	from := storage.Origin{Protocol: "imap", Client: s.conn.Client()}
	account, err := s.sv.cfg.Store.Login(s.ctx, address.Fold(), password, from)
	if errors.Is(err, storage.ErrRefused) {
		s.sv.penalties.judged(network, address.Fold(), false)
		return errRefused
	}
	if err != nil {
		s.sv.logged.WithLabelValues("fault").Inc()
		return fault(err)
	}
	s.sv.penalties.judged(network, address.Fold(), true)
	key, ok := s.sv.perClient.enter(account.Address, s.conn.Client())
	if !ok {
		s.sv.refused.Add(1)
		return refusal("[LIMIT] Too many connections of this account from one address")
	}
	s.clientKey = key
	s.account = account
	s.state = authenticated
	s.bad = 0
	s.sv.logins.leave(s)
	s.conn.SetPace(netserve.Pace{Silence: silentAfter, Stall: stall})
	s.sv.logged.WithLabelValues("accepted").Inc()
	s.sv.log.Debug("logged in", "account", account.Address, "born", account.Born)
	return nil
}

// loginError holds back the answer to a refused login; refuse gives it.
func (s *session) loginError(tag string, err error) error {
	if err != errRefused {
		return err
	}
	s.sv.logged.WithLabelValues("refused").Inc()
	s.held, s.tag = true, tag
	s.wait = s.sv.penalties.failed(s.sv.penalties.key(s.conn.Client()))
	return nil
}

// awaitRefusal waits until a refused login may be answered, without a buffer
// or a lock. The end of the server waits for nobody.
func (s *session) awaitRefusal() {
	for ; s.wait > 0 && !s.draining.Load(); s.wait -= refusalDelay {
		time.Sleep(min(s.wait, refusalDelay))
	}
	s.sv.penalties.answered(s.sv.penalties.key(s.conn.Client()))
}

// refuse answers a refused login.
func (s *session) refuse() {
	s.locked(func() {
		out := s.writer()
		out.Raw(s.tag)
		out.Raw(" NO [AUTHENTICATIONFAILED] Authentication failed.\r\n")
		s.held, s.tag = false, ""
		if s.refusals++; s.refusals >= maxRefusals {
			s.bye("Too many refused logins")
		}
	})
	s.serve()
}

func (s *session) startTLS(c *wire.Command) (string, error) {
	if err := c.End(); err != nil {
		return noReply, err
	}
	if s.sv.cfg.TLS == nil || s.conn.TLS() != nil {
		return noReply, wire.SyntaxError("STARTTLS not available")
	}
	if s.in.Buffered() > 0 {
		// Whoever sent these octets is not who will speak inside TLS.
		s.bye("Nothing may follow STARTTLS in the clear")
		return noReply, nil
	}
	out := s.writer()
	out.Raw(c.Tag)
	out.Raw(" OK Begin TLS negotiation now\r\n")
	s.flush()
	if s.over.Load() {
		return noReply, nil
	}
	s.dropReader() // or it would go on below TLS
	if err := s.conn.StartTLS(s.ctx, s.sv.cfg.TLS); err != nil {
		s.over.Store(true)
	}
	return noReply, nil
}
