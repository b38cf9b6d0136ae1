package wire

import (
	"bytes"
	"strings"

	"github.com/emersion/go-sasl"

	"barid/smtp"
	"barid/storage"
)

// login is what a mechanism ends with: nil, or what the peer reads.
type login func(name string, password storage.Password) error

// AuthMechanisms is asked for at EHLO.
func (d *dialogue) AuthMechanisms() []string {
	if !d.srv.cfg.Auth || !d.private {
		return nil
	}
	return []string{"PLAIN", "LOGIN"}
}

// Auth begins an exchange (RFC 4954), or answers a VRFY, which the library was
// made to take for one: with the same words whether there is anybody or not.
func (d *dialogue) Auth(mechanism string) (sasl.Server, error) {
	switch {
	case d.ended():
		return nil, lib(replyEnded)
	case isVerify(d.ear.line):
		return nil, lib(replyVerify)
	case !d.srv.cfg.Auth:
		return nil, d.refused(NoAuth)
	case !d.private:
		return nil, d.refused(replyNoTLS)
	case d.loggedIn:
		return nil, d.refused(replyLoggedInTwice)
	case d.inTransaction():
		return nil, d.refused(replyAuthInMail)
	}
	switch mechanism {
	case "PLAIN":
		return &plain{d.login}, nil
	case "LOGIN":
		return &askLogin{login: d.login}, nil
	}
	return nil, d.refused(replyMechanism)
}

// login asks the Session. Success is returned as the Reply, too: the library
// has a text of its own for it, and what it remembers about it we remember
// ourselves.
func (d *dialogue) login(name string, password storage.Password) (err error) {
	defer d.rescue("auth", &err, lib(replyPanic))
	if d.ended() {
		return lib(replyEnded)
	}
	if err := d.sess.Auth(d.ctx, name, password); err != nil {
		r := smtp.AsReply(err)
		if !isReply(err) {
			d.fault("login", err)
			r = smtp.NewReply(454, "4.7.0", "Temporary authentication failure")
		}
		d.badLogins++
		if d.badLogins >= d.srv.cfg.MaxBadLogins {
			d.hangUp()
			r = replyManyErrors
		}
		return lib(r)
	}
	d.loggedIn = true
	return lib(replyLoggedIn)
}

// plain is SASL PLAIN (RFC 4616). An authorization identity other than the
// login is refused: nobody acts for somebody else.
type plain struct{ login login }

func (p *plain) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil {
		return []byte{}, false, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 ||
		len(parts[0]) > 0 && !strings.EqualFold(string(parts[0]), string(parts[1])) {
		return nil, false, lib(replyAuthSyntax)
	}
	return nil, true, p.login(string(parts[1]), storage.Password(parts[2]))
}

// askLogin is the mechanism LOGIN, never standardised, still used.
type askLogin struct {
	login login
	name  *string
}

func (l *askLogin) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil:
		return []byte("Username:"), false, nil
	case l.name == nil:
		name := string(response)
		l.name = &name
		return []byte("Password:"), false, nil
	}
	return nil, true, l.login(*l.name, storage.Password(response))
}
