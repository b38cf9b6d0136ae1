package imap

import (
	"barid/imap/wire"
	"barid/storage"
)

// On the wire a ModSeq is one higher than in the store: zero, which an empty
// mailbox has there, is no mod-sequence that RFC 7162 allows, and a client
// that saw an empty mailbox must see its first message as a change.

func wireModSeq(m storage.ModSeq) uint64 { return uint64(m) + 1 }

// storeModSeq is the highest ModSeq of the store that is not higher than n on
// the wire; ok is false when even the lowest there can be is.
func storeModSeq(n uint64) (m storage.ModSeq, ok bool) {
	if n == 0 {
		return 0, false
	}
	return storage.ModSeq(n - 1), true
}

// newerThan tells whether m is higher than n on the wire.
func newerThan(m storage.ModSeq, n uint64) bool { return wireModSeq(m) > n }

// useModSeqs begins to tell the client of mod-sequences (RFC 7162 section
// 3.1): it gave a command that shows that it understands them.
func (s *session) useModSeqs() {
	if s.modSeqs {
		return
	}
	s.modSeqs = true
	if s.box.Mailbox != nil {
		// Not higher than what the client knows; lower costs little.
		s.highestLine(s.box.whole)
	}
}

func (s *session) highestLine(m storage.ModSeq) {
	out := s.writer()
	out.Raw("* OK [HIGHESTMODSEQ ")
	out.Number(wireModSeq(m))
	out.Raw("] Highest mod-sequence\r\n")
}

// highestCode is the response code of commands that expunge, empty for
// clients that do not ask for it. It is the mod-sequence up to which the
// client knows everything.
func (s *session) highestCode() string {
	if !s.modSeqs || s.box.Mailbox == nil {
		return ""
	}
	return "[HIGHESTMODSEQ " + number(wireModSeq(s.box.whole)) + "] "
}

func writeModSeq(out *wire.Writer, m storage.ModSeq) {
	out.Raw("MODSEQ (")
	out.Number(wireModSeq(m))
	out.Raw(")")
}

// enableFeature answers one word of ENABLE (RFC 5161), and tells whether that
// enabled something.
func (s *session) enableFeature(word string) bool {
	switch word {
	case "CONDSTORE":
		s.useModSeqs()
	case "QRESYNC":
		s.qresync = true
		s.useModSeqs()
	case rev2Word:
		s.rev2 = true
	default:
		return false
	}
	return true
}
