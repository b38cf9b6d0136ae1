package maildir

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// SubscriptionsName is the file of the subscriptions in an account's
// directory.
const SubscriptionsName = "subscriptions"

// Bounds of the subscriptions file.
const (
	maxSubscriptionLine = 1024
	maxSubscriptions    = 10_000
)

// ErrSubscriptions means that a subscriptions file is too large.
var ErrSubscriptions = errors.New("bad subscriptions file")

// ReadSubscriptions reads mailbox names as Dovecot keeps them, one a line. Its
// version 2, told by a first line "V", tab, "2", has tabs between levels.
// Names that no mailbox can have, and doubles, are passed over.
func ReadSubscriptions(r io.Reader) ([]string, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, maxSubscriptionLine), maxSubscriptionLine)
	var names []string
	seen := make(map[string]bool)
	for first, tabs := true, false; s.Scan(); first = false {
		name := s.Text()
		if first && name == "V\t2" {
			tabs = true
			continue
		}
		if tabs {
			name = strings.ReplaceAll(name, "\t", ".")
		}
		if badFolder(name) != "" || seen[name] {
			continue
		}
		if len(names) == maxSubscriptions {
			return nil, fmt.Errorf("%w: more than %d names", ErrSubscriptions, maxSubscriptions)
		}
		seen[name] = true
		names = append(names, name)
	}
	switch err := s.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%w: line longer than %d octets", ErrSubscriptions, maxSubscriptionLine)
	case err != nil:
		return nil, fmt.Errorf("read subscriptions: %w", err)
	}
	return names, nil
}

// WriteSubscriptions writes one name a line, which every version of Dovecot
// reads.
func WriteSubscriptions(w io.Writer, names []string) error {
	var b strings.Builder
	for _, name := range names {
		b.WriteString(name)
		b.WriteByte('\n')
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write subscriptions: %w", err)
	}
	return nil
}
