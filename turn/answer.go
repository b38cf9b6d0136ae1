package turn

import (
	"encoding/binary"

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

// answer gives what is sent instead of what the library would.
func (d *door) answer(p []byte) []byte {
	if len(p) < headerSize || isChannel(p) || p[0]&1 == 0 {
		return p // no answer, but data for a client
	}
	// Only the goroutine that works on requests sends answers.
	if p[1]&0x10 == 0 || d.refusal == 0 {
		return shorter(p, d.msg.fingerprint)
	}
	asked := &stun.Message{Raw: append([]byte{}, d.raw...)}
	if asked.Decode() != nil {
		return p
	}
	m, err := errorAnswer(asked, d.refusal)
	if err != nil {
		return p
	}
	switch {
	case d.refusal == stun.CodeUnauthorized: // the request has shown no key; RFC 8489 section 9.2.4
		var nonce stun.Nonce
		if nonce.GetFrom(asked) != nil || nonce.AddTo(m) != nil || stun.NewRealm(d.s.cfg.Realm).AddTo(m) != nil {
			return p
		}
	default:
		if stun.MessageIntegrity(d.secret).AddTo(m) != nil {
			return p
		}
	}
	return m.Raw
}

// shorter takes out of an answer to somebody unknown what nobody needs: the
// phrase behind the code of an error, and a fingerprint that was not asked for.
// Whose name the sender bears gets less in his stead.
func shorter(p []byte, fingerprint bool) []byte {
	m := &stun.Message{Raw: append([]byte{}, p...)}
	if m.Decode() != nil || m.Contains(stun.AttrMessageIntegrity) {
		return p // it is for somebody known
	}
	less := &stun.Message{TransactionID: m.TransactionID, Type: m.Type}
	less.WriteHeader()
	for _, a := range m.Attributes {
		switch {
		case a.Type == stun.AttrFingerprint:
		case a.Type == stun.AttrErrorCode && len(a.Value) > 4:
			less.Add(a.Type, a.Value[:4])
		default:
			less.Add(a.Type, a.Value)
		}
	}
	if fingerprint && stun.Fingerprint.AddTo(less) != nil {
		return p
	}
	return less.Raw
}

// errorAnswer refuses a request. The phrase that may stand behind the code is
// left out: nobody shows it.
func errorAnswer(asked *stun.Message, code stun.ErrorCode) (*stun.Message, error) {
	return stun.Build(stun.NewTransactionIDSetter(asked.TransactionID), stun.NewType(asked.Type.Method, stun.ClassErrorResponse),
		stun.ErrorCodeAttribute{Code: code})
}

// nothingHere answers a request for an allocation that is not there, such as
// one of before a restart: its client makes another one sooner. It tells
// whether it did. The answer is shorter than the request, which has an
// integrity.
func (d *door) nothingHere(p []byte, msg message) bool {
	switch {
	case !msg.integrity || msg.endsAllocation:
		return false
	case msg.method != methodRefresh && msg.method != methodCreatePermission && msg.method != methodChannelBind:
		return false
	}
	asked := &stun.Message{Raw: append([]byte{}, p...)}
	if asked.Decode() != nil {
		return false
	}
	m, err := errorAnswer(asked, stun.CodeAllocMismatch)
	if err != nil {
		return false
	}
	d.s.refused.WithLabelValues("no allocation").Inc()
	if d.send(m.Raw, d.from) != nil {
		d.drop("not sent to a client")
	}
	return true
}

// endsAllocation tells of a LIFETIME of zero (RFC 8656 section 7.2): it ends an
// allocation.
func endsAllocation(lifetime []byte) bool {
	return len(lifetime) == 4 && binary.BigEndian.Uint32(lifetime) == 0
}
