package turn

import (
	"net/netip"
	"slices"

	"github.com/pion/stun/v3"
)

// The library answers some refusals with another code than RFC 8656 wants, or
// with none, or not at all.

// refuse notes why the request that is worked on is refused.
func (d *door) refuse(reason string, code stun.ErrorCode) bool {
	d.s.refused.WithLabelValues(reason).Inc()
	d.refusal = code
	return false
}

// write sends a client what the library answers, or what it should have
// answered. Only the goroutine that works on requests does.
func (d *door) write(p []byte, to netip.AddrPort) {
	m, err := d.answer(p)
	if err != nil {
		d.drop("no answer")
		return
	}
	d.reply(m, to)
}

// reply sends an answer. One without an integrity is for somebody unknown, and
// goes out only when it is no longer than what that somebody sent.
func (d *door) reply(m *stun.Message, to netip.AddrPort) {
	if d.credit != nil && !m.Contains(stun.AttrMessageIntegrity) && !d.credit.pay(to, d.asked, len(m.Raw)) {
		d.drop("to be repeated")
		return
	}
	d.sendTo(m.Raw, to)
}

func (d *door) sendTo(p []byte, to netip.AddrPort) {
	if d.send(p, to) != nil {
		d.drop("not sent to a client")
	}
}

// answer gives what is sent instead of what the library would.
func (d *door) answer(p []byte) (*stun.Message, error) {
	said := &stun.Message{Raw: slices.Clone(p)}
	if err := said.Decode(); err != nil {
		return nil, err
	}
	if said.Type.Class != stun.ClassErrorResponse || d.refusal == 0 {
		return d.shorter(said)
	}
	if d.refusal != stun.CodeUnauthorized {
		return d.refusalOf(d.refusal, stun.MessageIntegrity(d.secret))
	}
	// The request has shown no key (RFC 8489 section 9.2.4), but the library has
	// taken its nonce.
	return d.refusalOf(d.refusal, stun.Nonce(d.told), stun.NewRealm(realm))
}

// shorter takes out of an answer to somebody unknown what nobody needs: the
// phrase behind the code of an error, a fingerprint that was not asked for. Its
// nonce becomes ours.
func (d *door) shorter(said *stun.Message) (*stun.Message, error) {
	if said.Contains(stun.AttrMessageIntegrity) {
		return said, nil // it is for somebody known
	}
	m := &stun.Message{TransactionID: said.TransactionID, Type: said.Type}
	m.WriteHeader()
	for _, a := range said.Attributes {
		switch {
		case a.Type == stun.AttrFingerprint:
		case a.Type == stun.AttrErrorCode && len(a.Value) > 4:
			m.Add(a.Type, a.Value[:4])
		case a.Type == stun.AttrNonce:
			d.nonces.library = string(a.Value)
			m.Add(a.Type, []byte(d.nonces.tell(d.from, d.s.cfg.Now())))
		default:
			m.Add(a.Type, a.Value)
		}
	}
	if d.msg.fingerprint {
		return m, stun.Fingerprint.AddTo(m)
	}
	return m, nil
}

// build makes an answer to the request that is worked on.
func (d *door) build(class stun.MessageClass, more ...stun.Setter) (*stun.Message, error) {
	return stun.Build(append([]stun.Setter{
		stun.NewTransactionIDSetter([stun.TransactionIDSize]byte(d.raw[8:headerSize])), stun.NewType(stun.Method(d.msg.method), class),
	}, more...)...)
}

// refusalOf makes an answer that refuses. The phrase that may stand behind the
// code is left out: nobody shows it.
func (d *door) refusalOf(code stun.ErrorCode, more ...stun.Setter) (*stun.Message, error) {
	return d.build(stun.ClassErrorResponse, append([]stun.Setter{stun.ErrorCodeAttribute{Code: code}}, more...)...)
}

// nothingHere answers a request for an allocation that is not there, such as
// one of before a restart: its client makes another one sooner. It tells
// whether it did.
func (d *door) nothingHere() bool {
	msg := d.msg
	switch {
	case !msg.integrity || msg.endsAllocation:
		return false
	case msg.method != methodRefresh && msg.method != methodCreatePermission && msg.method != methodChannelBind:
		return false
	}
	m, err := d.refusalOf(stun.CodeAllocMismatch)
	if err != nil {
		return false
	}
	d.s.refused.WithLabelValues("no allocation").Inc()
	d.reply(m, d.from)
	return true
}
