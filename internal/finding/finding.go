// Package finding has the one shape in which any part says that something
// about the installation deserves an operator's eye.
package finding

import "fmt"

// Severity orders findings.
type Severity int

// The severities, least first.
const (
	Info    Severity = iota // worth knowing
	Warning                 // works, but not as it should
	Fault                   // something does not work
)

var severities = [...]string{"info", "warning", "fault"}

func (s Severity) String() string { return severities[s] }

// MarshalText gives the word, for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word back.
func (s *Severity) UnmarshalText(text []byte) error {
	for i, word := range severities {
		if word == string(text) {
			*s = Severity(i)
			return nil
		}
	}
	return fmt.Errorf("no severity %q", text)
}

// Finding is one observation and what to do about it. It names no address
// and no client's IP.
type Finding struct {
	ID       string   `json:"id"` // stable, "tls.expires-soon"
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`   // what is, one sentence
	Remedy   string   `json:"remedy"` // what to do, one sentence
}
