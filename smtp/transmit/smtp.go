package transmit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"barid/smtp"
	"barid/smtp/wire"
)

// patience of a client towards peers; the session as a whole has its own bound.
var patience = wire.Patience{Command: time.Minute, Content: 5 * time.Minute, Write: time.Minute}

// open connects to port 25 and comes as far as a transaction can begin.
func (a *attempt) open(ctx context.Context) (*waiting, error) {
	w, err := a.dialogue(ctx, a.want.trust)
	if err != nil && a.want.trust == cleartext && ctx.Err() == nil {
		// What it offers as TLS does not work. It may do without.
		if reply := (*smtp.Reply)(nil); !errors.As(err, &reply) {
			return a.dialogue(ctx, withoutTLS)
		}
	}
	return w, err
}

// withoutTLS is what is left of cleartext when TLS fails.
const withoutTLS trust = -1

func (a *attempt) dialogue(ctx context.Context, trust trust) (*waiting, error) {
	t := a.t
	conn, err := t.dialer.dial(ctx, a.host, t.cfg.SMTPPort)
	if err != nil {
		if _, ok := asOp(err); ok && ctx.Err() == nil {
			t.ports.connected(a.host.name, false, t.cfg.Now())
		}
		return nil, err
	}
	t.ports.connected(a.host.name, true, t.cfg.Now())
	addr := conn.RemoteAddr().String()
	c, err := wire.Dialogue(ctx, conn, t.cfg.Hostname, patience)
	if err != nil {
		return nil, forwarded(a.host, addr, err)
	}
	if slices.Contains(t.cfg.Names, strings.ToLower(c.Peer())) {
		c.Close()
		return nil, loop(a.host.name)
	}
	if trust == withoutTLS {
		return &waiting{Client: c, addr: addr}, nil
	}
	err = c.StartTLS(ctx, a.want.tls(t.cfg.Roots, a.host))
	if errors.Is(err, wire.ErrNoTLS) && trust == cleartext {
		err = nil
	}
	if err != nil {
		c.Close()
		return nil, forwarded(a.host, addr, err)
	}
	return &waiting{Client: c, addr: addr}, nil
}

// smtp does a transaction. An error says that nothing was sent and that
// another connection may do better.
func (a *attempt) smtp(ctx context.Context, w *waiting) (Outcome, error) {
	t := a.t
	began := t.cfg.Now()
	if most := w.MaxSize(); most > 0 && a.m.size() > most {
		t.pool.put(a.key, w)
		out := all(a.m, smtp.NewReply(552, "5.3.4", "Message of %d octets is too big for %s, which takes %d", a.m.size(), a.host.name, most))
		out.Reached, out.Channel = true, SMTP
		return out, nil
	}
	per, sent, err := w.Send(ctx, wire.Envelope{From: a.m.From, To: a.m.To, Size: a.m.size()}, a.m.reader())
	if err != nil {
		w.Close()
		t.known.note(a.key, SMTP, false, 0)
		if !sent {
			return Outcome{}, forwarded(a.host, w.addr, err)
		}
		// It may have arrived: to try another host now would double it. Later,
		// SMTP cannot tell either (RFC 5321 section 4.5.3.2.6).
		out := all(a.m, smtp.NewReply(451, "4.4.2", "Connection to %s lost while it was to acknowledge the message", a.host.name))
		out.Reached, out.Channel = true, SMTP
		return out, nil
	}
	t.pool.put(a.key, w)
	t.known.note(a.key, SMTP, true, t.since(began))
	out := Outcome{Per: make([]*smtp.Reply, len(per)), Reached: true, Channel: SMTP}
	for i, reply := range per {
		out.Per[i] = forward(a.host, w.addr, reply)
	}
	return out, nil
}

// forward gives a peer's reply to whoever asks us, with the peer's name. What
// no reply to a transaction can be becomes a temporary failure.
func forward(h host, addr string, reply *smtp.Reply) *smtp.Reply {
	switch reply.Code / 100 {
	case 2:
		return reply
	case 4, 5:
		return smtp.NewReply(reply.Code, reply.Enhanced, "%s (forwarded from %s)", reply.Text, where(h, addr))
	}
	return smtp.NewReply(451, "4.5.0", "Unexpected reply %d (forwarded from %s)", reply.Code, where(h, addr))
}

// where names a peer: "mx.peer.test[192.0.2.1:25]", or the address alone.
func where(h host, addr string) string {
	if h.addr.IsValid() {
		return addr
	}
	return h.name + "[" + addr + "]"
}

// refusal is the reply of a peer that did not let us in.
type refusal struct{ reply *smtp.Reply }

func (r *refusal) Error() string { return "refused with " + r.reply.Wire() }

// forwarded makes the refusal of a peer readable; other errors stay.
func forwarded(h host, addr string, err error) error {
	if reply, ok := errors.AsType[*smtp.Reply](err); ok {
		return &refusal{forward(h, addr, reply)}
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("certificate: %w", cert.Err)
	}
	return err
}
