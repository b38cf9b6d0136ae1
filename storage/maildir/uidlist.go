package maildir

import (
	"bufio"
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
	maxUIDFile    = 128 << 20 // octets

	// lastUID is the highest UIDVALIDITY, UID and UIDNEXT that is believed. Both
	// only rise, and end at 1<<32-1: whoever begins near there has none for the
	// next mailbox, or the next message. UIDVALIDITY is a time, and this is 2105.
	lastUID = 1<<32 - 1<<24
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
// above them all. ErrUIDList when the header makes no sense, leaves no room for
// more, or there is more than a mailbox can have.
func ReadUIDList(r io.Reader) (*UIDList, error) {
	// One text, of which all names are pieces: reading costs no more than the
	// scan, however many lines there are.
	var b strings.Builder
	if n, err := io.Copy(&b, io.LimitReader(r, maxUIDFile+1)); err != nil {
		return nil, fmt.Errorf("read dovecot-uidlist: %w", err)
	} else if n > maxUIDFile {
		return nil, uidListError("larger than %d octets", maxUIDFile)
	}
	header, text := cutLine(b.String())
	l, err := parseUIDHeader(header)
	if err != nil {
		return nil, err
	}
	l.Entries = make([]UIDEntry, 0, min(strings.Count(text, "\n")+1, maxUIDEntries))
	for text != "" {
		var line string
		line, text = cutLine(text)
		if len(line) > maxUIDLine {
			return nil, uidListError("line longer than %d octets", maxUIDLine)
		}
		e, ok := parseUIDLine(line)
		if !ok {
			continue
		}
		if len(l.Entries) == maxUIDEntries {
			return nil, uidListError("more than %d entries", maxUIDEntries)
		}
		l.Entries = append(l.Entries, e)
	}
	l.order()
	return l, nil
}

func uidListError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUIDList, fmt.Sprintf(format, args...))
}

// cutLine cuts text behind its first line, which comes without its end.
func cutLine(text string) (line, rest string) {
	line, rest, _ = strings.Cut(text, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

func parseUIDHeader(line string) (*UIDList, error) {
	l := &UIDList{}
	version, fields, _ := strings.Cut(line, " ")
	words := strings.Fields(fields)
	switch version {
	case "1": // "1 <uidvalidity> <uidnext>"
		if len(words) < 2 {
			return nil, uidListError("short header")
		}
		words[0], words[1] = "V"+words[0], "N"+words[1]
	case "3":
	default:
		return nil, uidListError("unknown version")
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
		return nil, uidListError("no UIDVALIDITY")
	}
	if l.UIDValidity > lastUID || l.UIDNext > lastUID {
		return nil, uidListError("UIDVALIDITY %d and UIDNEXT %d leave no room for more", l.UIDValidity, l.UIDNext)
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

func parseUIDLine(line string) (UIDEntry, bool) {
	head, rest, ok := strings.Cut(line, " ")
	if !ok {
		return UIDEntry{}, false
	}
	e := UIDEntry{UID: parseUID(head)}
	if name, ok := strings.CutPrefix(rest, ":"); ok {
		e.Name = name
	} else if ext, name, ok := strings.Cut(rest, " :"); ok {
		e.Ext, e.Name = strings.Join(strings.Fields(ext), " "), name
	} else {
		e.Name = rest // version 1
	}
	e.Name, _, _ = strings.Cut(e.Name, ":") // flags, which some wrote
	// A name that ends in CR would be another when it is read again.
	if e.UID == 0 || e.UID >= lastUID || !isName(e.Name) || strings.HasSuffix(e.Name, "\r") {
		return UIDEntry{}, false
	}
	if strings.Contains(" "+e.Ext, " :") { // so would this: other white space stood there
		return UIDEntry{}, false
	}
	return e, true
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
	}
	l.UIDNext = max(l.UIDNext, 1)
}

// Listable tells whether the list can have a message file of that name: lines
// end where it would have the end of a line.
func Listable(name string) bool {
	return !strings.Contains(name, "\n") && !strings.HasSuffix(name, "\r")
}

// Write writes version 3. Entries must be ascending, and their names Listable.
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
