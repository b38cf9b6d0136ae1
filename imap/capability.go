package imap

import (
	"slices"
	"strings"

	"barid/imap/wire"
)

// phase is when a capability is true.
type phase uint8

const (
	beforeLogin phase = 1 << iota // on a channel that allows a login
	beforeTLS                     // on one that does not
	afterLogin
)

// capability is one row of the table of capabilities.
type capability struct {
	word string
	when phase
}

const rev2Word = "IMAP4rev2"

const compressWord = "COMPRESS=DEFLATE"

// capabilities has every word that may be advertised, and a test for each.
func capabilities() []capability {
	const always = beforeLogin | beforeTLS | afterLogin
	return []capability{
		{"IMAP4rev1", always},
		{rev2Word, afterLogin}, // when it is enabled
		{"SASL-IR", beforeLogin},
		{"ID", always},
		{"IDLE", always},
		{"LITERAL+", always},
		{"XCHATMAIL", always},
		{"XDELTAPUSH", always},
		{"ENABLE", afterLogin},
		{"NAMESPACE", afterLogin},
		{"CHILDREN", afterLogin},
		{"SPECIAL-USE", afterLogin},
		{"UNSELECT", afterLogin},
		{"UIDPLUS", afterLogin},
		{"MOVE", afterLogin},
		{"MULTIAPPEND", afterLogin},
		{"BINARY", afterLogin},
		{"SAVEDATE", afterLogin},
		{"OBJECTID", afterLogin},
		{"ESEARCH", afterLogin},
		{"SEARCHRES", afterLogin},
		{"CONDSTORE", afterLogin},
		{"QRESYNC", afterLogin},
		{"METADATA", afterLogin},
		{"QUOTA", afterLogin},
		{"QUOTA=RES-STORAGE", afterLogin},
		{"LIST-EXTENDED", afterLogin},
		{"LIST-STATUS", afterLogin},
		{"STATUS=SIZE", afterLogin},
		{appendLimit, afterLogin},  // said with the limit behind it
		{compressWord, afterLogin}, // where it is on, and not active
		{"STARTTLS", beforeTLS},
		{"LOGINDISABLED", beforeTLS},
		{"AUTH=PLAIN", beforeLogin},
	}
}

// capabilityWords gives the words that are true then, with this Config.
func (sv *Server) capabilityWords(when phase) []string {
	var words []string
	for _, c := range capabilities() {
		switch {
		case c.when&when == 0:
		case c.word == "STARTTLS" && sv.cfg.TLS == nil:
		case c.word == compressWord && !sv.cfg.Compress:
		case c.word == appendLimit:
			words = append(words, sv.appendLimitWord())
		default:
			words = append(words, c.word)
		}
	}
	return words
}

func (sv *Server) appendLimitWord() string {
	return appendLimit + "=" + number(uint64(sv.cfg.MaxMessageSize))
}

// mayLogin tells whether a password may be sent on this connection.
func (s *session) mayLogin() bool { return s.clear || s.conn.TLS() != nil }

// capabilities lists what is true now.
func (s *session) capabilities() string {
	when := afterLogin
	if s.state == notAuthenticated {
		when = beforeTLS
		if s.mayLogin() {
			when = beforeLogin
		}
	}
	out := s.sv.capabilityWords(when)
	if s.comp != nil {
		out = slices.DeleteFunc(out, func(w string) bool { return w == compressWord })
	}
	if s.clear && s.sv.cfg.TLS != nil && s.conn.TLS() == nil && s.state == notAuthenticated {
		out = append(out, "STARTTLS")
	}
	return strings.Join(out, " ")
}

func (s *session) capability(c *wire.Command) (string, error) {
	if err := c.End(); err != nil {
		return noReply, err
	}
	s.asked = true
	out := s.writer()
	out.Raw("* CAPABILITY ")
	out.Raw(s.capabilities())
	out.EOL()
	return "OK Capability completed", nil
}

// greet says hello, at once.
func (s *session) greet() {
	s.locked(func() {
		out := s.writer()
		out.Raw("* OK [CAPABILITY ")
		out.Raw(s.capabilities())
		out.Raw("] ")
		out.Text(s.sv.cfg.Domain)
		out.Raw(" ready\r\n")
	})
}
