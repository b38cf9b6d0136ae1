package maildir

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// UIDListName is the file of a UIDList in a mailbox directory.
const UIDListName = "dovecot-uidlist"

// Bounds of a UIDList.
const (
	maxUIDLine    = 4096
	maxUIDEntries = 1 << 20
)

// ErrUIDList means that a file is no dovecot-uidlist, or too large.
var ErrUIDList = errors.New("bad dovecot-uidlist")

// UIDList is the file dovecot-uidlist: which UID each message file has.
//
//	3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1
//	25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,
//	25017 W2481 :1276533073.M242911P3632.kurkku,S=2437
//
// Source: Dovecot's documentation, "Maildir Mailbox Format", version 3.
type UIDList struct {
	UIDValidity uint32
	UIDNext     uint32
	GUID        string // 32 hexadecimal digits, or empty
	Entries     []UIDEntry
}

// UIDEntry is one message of a UIDList.
type UIDEntry struct {
	UID  uint32
	Ext  string // fields we do not read, separated by single spaces
	Name string // Name.Stem of its file
}

// ReadUIDList reads version 3, and 1, which is older. Lines that make no sense
// are passed over; entries come out ascending, each UID once, and UIDNext is
// above them all. ErrUIDList when the header makes no sense or there is more
// than a mailbox can have.
func ReadUIDList(r io.Reader) (*UIDList, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, maxUIDLine), maxUIDLine)
	if !s.Scan() {
		return nil, uidListError(s.Err(), "no header")
	}
	l, err := parseUIDHeader(s.Text())
	if err != nil {
		return nil, err
	}
	for s.Scan() {
		e, ok := parseUIDLine(s.Bytes())
		if !ok {
			continue
		}
		if len(l.Entries) == maxUIDEntries {
			return nil, uidListError(nil, "too many entries")
		}
		l.Entries = append(l.Entries, e)
	}
	if err := s.Err(); err != nil {
		return nil, uidListError(err, "")
	}
	l.order()
	return l, nil
}

func uidListError(err error, what string) error {
	switch {
	case err == nil:
		return fmt.Errorf("%w: %s", ErrUIDList, what)
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("%w: line longer than %d octets", ErrUIDList, maxUIDLine)
	}
	return fmt.Errorf("read dovecot-uidlist: %w", err)
}

func parseUIDHeader(line string) (*UIDList, error) {
	l := &UIDList{}
	version, fields, _ := strings.Cut(line, " ")
	words := strings.Fields(fields)
	switch version {
	case "1": // "1 <uidvalidity> <uidnext>"
		if len(words) < 2 {
			return nil, uidListError(nil, "short header")
		}
		words[0], words[1] = "V"+words[0], "N"+words[1]
	case "3":
	default:
		return nil, uidListError(nil, "unknown version")
	}
	for _, w := range words {
		switch w[0] {
		case 'V':
			l.UIDValidity = parseUID(w[1:])
		case 'N':
			l.UIDNext = parseUID(w[1:])
		case 'G':
			if isGUID(w[1:]) {
				l.GUID = w[1:]
			}
		}
	}
	if l.UIDValidity == 0 {
		return nil, uidListError(nil, "no UIDVALIDITY")
	}
	return l, nil
}

// parseUID gives zero, which is no UID, for what is none.
func parseUID(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

func isGUID(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

func parseUIDLine(line []byte) (UIDEntry, bool) {
	head, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || len(head) > 10 {
		return UIDEntry{}, false
	}
	e := UIDEntry{UID: parseUID(string(head))}
	if ext, name, ok := cutName(rest); ok {
		e.Ext, e.Name = string(bytes.Join(bytes.Fields(ext), []byte(" "))), string(name)
	} else {
		e.Name = string(rest) // version 1
	}
	n, ok := ParseName(e.Name)
	if !ok || e.UID == 0 {
		return UIDEntry{}, false
	}
	if strings.IndexByte(e.Name, ':') >= 0 {
		e.Name = n.Stem()
	}
	return e, true
}

// cutName cuts a line behind its UID at the colon that begins the name.
func cutName(rest []byte) (ext, name []byte, ok bool) {
	if len(rest) > 0 && rest[0] == ':' {
		return nil, rest[1:], true
	}
	return bytes.Cut(rest, []byte(" :"))
}

// order puts entries in order; of two with one UID the first stays.
func (l *UIDList) order() {
	byUID := func(a, b UIDEntry) int { return cmp.Compare(a.UID, b.UID) }
	if !slices.IsSortedFunc(l.Entries, byUID) {
		slices.SortStableFunc(l.Entries, byUID)
	}
	l.Entries = slices.CompactFunc(l.Entries, func(a, b UIDEntry) bool { return a.UID == b.UID })
	if n := len(l.Entries); n > 0 && l.Entries[n-1].UID >= l.UIDNext {
		l.UIDNext = l.Entries[n-1].UID + 1
		if l.UIDNext == 0 {
			l.UIDNext-- // the last UID there is was used
		}
	}
	l.UIDNext = max(l.UIDNext, 1)
}

// Write writes version 3. Entries must be ascending.
func (l *UIDList) Write(w io.Writer) error {
	b := bufio.NewWriterSize(w, 64<<10)
	fmt.Fprintf(b, "3 V%d N%d", l.UIDValidity, l.UIDNext)
	if l.GUID != "" {
		fmt.Fprintf(b, " G%s", l.GUID)
	}
	b.WriteByte('\n')
	var line []byte
	for _, e := range l.Entries {
		line = strconv.AppendUint(line[:0], uint64(e.UID), 10)
		line = append(line, ' ')
		if e.Ext != "" {
			line = append(append(line, e.Ext...), ' ')
		}
		line = append(append(append(line, ':'), e.Name...), '\n')
		b.Write(line)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write dovecot-uidlist: %w", err)
	}
	return nil
}
