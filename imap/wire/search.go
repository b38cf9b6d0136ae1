package wire

import (
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Bounds of one SEARCH command.
const (
	maxKeys     = 1000
	maxTextKeys = 30
)

// SearchOp is what a search key asks.
type SearchOp int

// The operations. What a key holds beside stands behind each.
const (
	SearchAll     SearchOp = iota
	SearchNumbers          // Set, of message sequence numbers
	SearchUIDs             // Set
	SearchFlag             // Text is the flag
	SearchBefore           // Date, of arrival
	SearchOn
	SearchSince
	SearchSentBefore // Date, of the header
	SearchSentOn
	SearchSentSince
	SearchSavedBefore // Date, of when it was put into the mailbox (RFC 8514)
	SearchSavedOn
	SearchSavedSince
	SearchLarger // Number
	SearchSmaller
	SearchModSeq   // Number
	SearchSaved    // the result of the last search that was saved
	SearchEmailID  // Text (RFC 8474), case counts
	SearchThreadID // likewise
	SearchHeader   // Field and Text, which may be empty
	SearchBody     // Text
	SearchText     // Text
	SearchNot      // Sub[0]
	SearchOr       // one of Sub
	SearchAnd      // all of Sub
)

// SearchKey is one search key, RFC 9051 section 6.4.4.
type SearchKey struct {
	Op     SearchOp
	Set    Set
	Field  string
	Text   string
	Date   time.Time
	Number uint64
	Sub    []SearchKey
}

// NeedsHeader and NeedsBody tell what of a message a key looks at.
func (k SearchKey) NeedsHeader() bool {
	return k.any(func(k SearchKey) bool {
		return k.Op == SearchHeader || k.Op >= SearchSentBefore && k.Op <= SearchSentSince
	})
}

// NeedsBody is explained at NeedsHeader.
func (k SearchKey) NeedsBody() bool {
	return k.any(func(k SearchKey) bool { return k.Op == SearchBody || k.Op == SearchText })
}

func (k SearchKey) any(f func(SearchKey) bool) bool {
	if f(k) {
		return true
	}
	for _, sub := range k.Sub {
		if sub.any(f) {
			return true
		}
	}
	return false
}

// HasModSeq tells whether a key asks for a MODSEQ.
func (k SearchKey) HasModSeq() bool {
	return k.any(func(k SearchKey) bool { return k.Op == SearchModSeq })
}

// Search is the arguments of SEARCH.
type Search struct {
	Charset string // upper case; empty where it is not given
	Key     SearchKey
	// Return is what to give in an ESEARCH line, nil for the old answer.
	Return *SearchReturn
}

// SearchReturn is the result options of RFC 4731 and RFC 5182.
type SearchReturn struct{ Min, Max, All, Count, Save bool }

// searcher counts while it reads.
type searcher struct {
	*Command
	keys, texts int
}

// Search takes the arguments of SEARCH, to the end of the command. The keys
// are one SearchAnd.
func (c *Command) Search() Search {
	s := &searcher{Command: c}
	search := Search{Key: SearchKey{Op: SearchAnd}}
	c.SP()
	if s.word("RETURN") {
		search.Return = s.result()
		c.SP()
	}
	if s.word("CHARSET") {
		search.Charset = strings.ToUpper(c.AString())
		c.SP()
	}
	for c.err == nil {
		search.Key.Sub = append(search.Key.Sub, s.key(0))
		if !c.More() {
			break
		}
		c.SP()
	}
	return search
}

// word takes a word and the space behind it when they are next.
func (s *searcher) word(w string) bool {
	if len(s.rest) <= len(w) || !strings.EqualFold(string(s.rest[:len(w)]), w) || s.rest[len(w)] != ' ' {
		return false
	}
	s.Atom()
	s.SP()
	return true
}

// result takes the options of RETURN; none of them means ALL.
func (s *searcher) result() *SearchReturn {
	r := new(SearchReturn)
	s.List(func() {
		switch strings.ToUpper(s.Atom()) {
		case "MIN":
			r.Min = true
		case "MAX":
			r.Max = true
		case "ALL":
			r.All = true
		case "COUNT":
			r.Count = true
		case "SAVE":
			r.Save = true
		default:
			s.fail("Unknown SEARCH result option")
		}
	})
	if *r == (SearchReturn{}) {
		r.All = true
	}
	return r
}

func flagKey(f imap.Flag) SearchKey { return SearchKey{Op: SearchFlag, Text: string(f)} }

func not(k SearchKey) SearchKey { return SearchKey{Op: SearchNot, Sub: []SearchKey{k}} }

// plainKeys are those without an argument.
func plainKey(word string) (SearchKey, bool) {
	recent := flagKey(`\Recent`)
	switch word {
	case "ALL", "SAVEDATESUPPORTED": // every message has such a date
		return SearchKey{Op: SearchAll}, true
	case "ANSWERED":
		return flagKey(imap.FlagAnswered), true
	case "DELETED":
		return flagKey(imap.FlagDeleted), true
	case "DRAFT":
		return flagKey(imap.FlagDraft), true
	case "FLAGGED":
		return flagKey(imap.FlagFlagged), true
	case "SEEN":
		return flagKey(imap.FlagSeen), true
	case "UNANSWERED":
		return not(flagKey(imap.FlagAnswered)), true
	case "UNDELETED":
		return not(flagKey(imap.FlagDeleted)), true
	case "UNDRAFT":
		return not(flagKey(imap.FlagDraft)), true
	case "UNFLAGGED":
		return not(flagKey(imap.FlagFlagged)), true
	case "UNSEEN":
		return not(flagKey(imap.FlagSeen)), true
	case "RECENT":
		return recent, true
	case "OLD":
		return not(recent), true
	case "NEW":
		return SearchKey{Op: SearchAnd, Sub: []SearchKey{recent, not(flagKey(imap.FlagSeen))}}, true
	}
	return SearchKey{}, false
}

var dateKeys = map[string]SearchOp{
	"BEFORE": SearchBefore, "ON": SearchOn, "SINCE": SearchSince,
	"SAVEDBEFORE": SearchSavedBefore, "SAVEDON": SearchSavedOn, "SAVEDSINCE": SearchSavedSince,
	"SENTBEFORE": SearchSentBefore, "SENTON": SearchSentOn, "SENTSINCE": SearchSentSince,
}

var numberKeys = map[string]SearchOp{"LARGER": SearchLarger, "SMALLER": SearchSmaller}

// key takes one key. The depth counts parentheses, NOT and OR.
func (s *searcher) key(depth int) SearchKey {
	if depth > MaxNesting {
		s.fail("Search keys are nested too deeply")
		return SearchKey{}
	}
	if s.keys++; s.keys > maxKeys {
		s.fail("Too many search keys")
		return SearchKey{}
	}
	switch b := s.peek(); {
	case b == '(':
		k := SearchKey{Op: SearchAnd}
		s.List(func() { k.Sub = append(k.Sub, s.key(depth+1)) })
		if len(k.Sub) == 0 {
			s.fail("Empty list of search keys")
		}
		return k
	case isDigit(b) || b == '*':
		return SearchKey{Op: SearchNumbers, Set: s.Set()}
	case b == '$':
		s.SetOrSaved()
		return SearchKey{Op: SearchSaved}
	}
	word := strings.ToUpper(s.Atom())
	if k, ok := plainKey(word); ok {
		return k
	}
	if op, ok := dateKeys[word]; ok {
		s.SP()
		return SearchKey{Op: op, Date: s.Date()}
	}
	if op, ok := numberKeys[word]; ok {
		s.SP()
		return SearchKey{Op: op, Number: s.Number64()}
	}
	return s.argumentKey(word, depth)
}

func (s *searcher) argumentKey(word string, depth int) SearchKey {
	switch word {
	case "UID":
		s.SP()
		if set, saved := s.SetOrSaved(); !saved {
			return SearchKey{Op: SearchUIDs, Set: set}
		}
		return SearchKey{Op: SearchSaved}
	case "MODSEQ":
		return s.modSeq()
	case "KEYWORD", "UNKEYWORD":
		s.SP()
		k := flagKey(s.flag())
		if word == "UNKEYWORD" {
			return not(k)
		}
		return k
	case "FROM", "TO", "CC", "BCC", "SUBJECT":
		return SearchKey{Op: SearchHeader, Field: word, Text: s.text()}
	case "HEADER":
		s.SP()
		return SearchKey{Op: SearchHeader, Field: s.AString(), Text: s.text()}
	case "BODY":
		return SearchKey{Op: SearchBody, Text: s.text()}
	case "TEXT":
		return SearchKey{Op: SearchText, Text: s.text()}
	case "EMAILID", "THREADID":
		s.SP()
		k := SearchKey{Op: SearchEmailID, Text: s.Atom()}
		if word == "THREADID" {
			k.Op = SearchThreadID
		}
		return k
	case "NOT":
		s.SP()
		return not(s.key(depth + 1))
	case "OR":
		s.SP()
		a := s.key(depth + 1)
		s.SP()
		return SearchKey{Op: SearchOr, Sub: []SearchKey{a, s.key(depth + 1)}}
	}
	s.fail("Unknown search key")
	return SearchKey{}
}

// modSeq takes the argument of MODSEQ. A metadata item may stand before the
// number; all items of a message have one number here.
func (s *searcher) modSeq() SearchKey {
	s.SP()
	if s.Next('"') {
		_ = s.String()
		s.SP()
		s.Atom()
		s.SP()
	}
	return SearchKey{Op: SearchModSeq, Number: s.Number64()}
}

// text takes the string of a key that looks into messages.
func (s *searcher) text() string {
	if s.texts++; s.texts > maxTextKeys {
		s.fail("Too many search texts")
	}
	s.SP()
	return s.AString()
}
