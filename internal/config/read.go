package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxProblems and maxUnknowns end the search for more: a file with so many is
// no configuration.
const (
	maxProblems = 100
	maxUnknowns = 1000
)

// reader turns the text into a Config, expression by expression, and goes on
// after each problem. The library's own decoder would end at the first wrong
// value and hide the unknown keys behind it; here it only gives the grammar.
type reader struct {
	text     []byte
	lines    []int // offset of each line's first octet
	schema   *schema
	config   *Config
	problems []Problem

	at     map[string]*place // keys that were set, by dotted path
	tables map[string]int    // tables that were opened, by path: the offset
	meant  map[string]string // unknown tables: the table they probably are, or nothing

	unknowns int             // unknown keys and tables so far
	guessed  map[string]bool // keys that an unknown one probably is
	broken   bool            // the syntax broke, so the rest was not read
}

// place is where a key was set.
type place struct {
	key, value int   // offsets
	elements   []int // offsets of a list's elements
	bad        bool  // its value has a problem already, so no more is said
}

func newReader(text []byte) *reader {
	r := &reader{
		text: text, lines: []int{0}, schema: newSchema(), config: Default(""),
		at: map[string]*place{}, tables: map[string]int{}, meant: map[string]string{}, guessed: map[string]bool{},
	}
	for i, c := range text {
		if c == '\n' {
			r.lines = append(r.lines, i+1)
		}
	}
	return r
}

// lineColumn gives the place of an offset, both from 1.
func (r *reader) lineColumn(offset int) (line, column int) {
	line = sort.Search(len(r.lines), func(i int) bool { return r.lines[i] > offset })
	return line, offset - r.lines[line-1] + 1
}

func (r *reader) problem(offset int, key, format string, args ...any) {
	if len(r.problems) >= maxProblems {
		return
	}
	if len(key) > maxDistance {
		key = strings.ToValidUTF8(key[:maxDistance], "") + "..."
	}
	line, column := r.lineColumn(offset)
	r.problems = append(r.problems, Problem{line, column, key, fmt.Sprintf(format, args...)})
}

// full tells that no more is looked for.
func (r *reader) full() bool { return len(r.problems) >= maxProblems || r.unknowns >= maxUnknowns }

// read goes through the text once. Broken syntax ends it.
func (r *reader) read() {
	var p unstable.Parser
	p.Reset(r.text)
	table := ""
	for !r.full() && p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table:
			path, offset, _ := r.path("", e)
			table = r.enter(path, offset)
		case unstable.ArrayTable:
			path, offset, _ := r.path("", e)
			if r.schema.isTable(path) {
				r.problem(offset, path, "is one table: write [%s]", path)
				table = path
			} else {
				table = r.enter(path, offset)
			}
		case unstable.KeyValue:
			r.assign(table, e)
		}
	}
	var broken *unstable.ParserError
	if errors.As(p.Error(), &broken) {
		r.broken = true
		offset := r.offset(&p, broken.Highlight)
		r.problem(offset, "", "%s%s; what follows was not read", broken.Message, r.quotesMissing(offset))
	}
}

var bareValue = regexp.MustCompile(`^[^#"']*=\s*[A-Za-z/]`)

// quotesMissing adds the most common cause to what the library says about a
// broken line.
func (r *reader) quotesMissing(offset int) string {
	line, _ := r.lineColumn(offset)
	if bareValue.Match(r.text[r.lines[line-1]:]) {
		return " (a string needs quotes)"
	}
	return ""
}

// offset tells where in the text a part of it begins; the end for none.
func (r *reader) offset(p *unstable.Parser, part []byte) int {
	if len(part) == 0 {
		return max(len(r.text)-1, 0)
	}
	return int(p.Range(part).Offset)
}

// grammar lets the library judge the whole text, for what only it knows:
// tables defined twice in ways that read does not see. What stands on a line
// that has a problem already is the same problem. With unknown keys around it
// is left out: the library's search for keys that stand twice takes time that
// grows with the square of their number.
func (r *reader) grammar() {
	if r.unknowns > 0 {
		return
	}
	var whole map[string]any
	err := toml.Unmarshal(r.text, &whole)
	if err == nil {
		return
	}
	var broken *toml.DecodeError
	p := Problem{Line: 1, Column: 1, Text: strings.TrimPrefix(err.Error(), "toml: ")}
	if errors.As(err, &broken) {
		p.Line, p.Column = broken.Position()
	}
	if !slices.ContainsFunc(r.problems, func(q Problem) bool { return q.Line == p.Line }) {
		r.problems = append(r.problems, p)
	}
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// path gives the dotted path of an expression's key below prefix, where it
// begins and where it ends. A part that needs quotes gets them, so that a dot
// inside never parts it.
func (r *reader) path(prefix string, e *unstable.Node) (path string, start, end int) {
	parts := []string{}
	if prefix != "" {
		parts = append(parts, prefix)
	}
	start = -1
	for k := e.Key(); k.Next(); {
		n := k.Node()
		if start < 0 {
			start = int(n.Raw.Offset)
		}
		end = int(n.Raw.Offset + n.Raw.Length)
		part := string(n.Data)
		if !bareKey.MatchString(part) {
			part = strconv.Quote(part)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "."), start, end
}

// enter opens a table and gives the one that its keys belong to: itself, or
// for a misspelled one the right one, so that its keys are judged too.
func (r *reader) enter(path string, offset int) string {
	if first, twice := r.tables[path]; twice {
		line, _ := r.lineColumn(first)
		r.problem(offset, path, "the table stands twice, first on line %d", line)
		return path
	}
	r.tables[path] = offset
	if r.schema.isTable(path) {
		return path
	}
	if _, isKey := r.schema.byPath[path]; isKey {
		r.problem(offset, path, "is a key, not a table: write %s = ...", path)
		r.meant[path] = ""
		return path
	}
	r.unknowns++
	meant := r.schema.nearestTable(path)
	r.meant[path] = meant
	if meant == "" {
		r.problem(offset, path, "unknown table")
		return path
	}
	r.problem(offset, path, "unknown table, did you mean [%s]?", meant)
	return meant
}

// assign takes one key = value below a table.
func (r *reader) assign(table string, e *unstable.Node) {
	path, start, end := r.path(table, e)
	value := e.Value()
	if value.Kind == unstable.InlineTable && r.inline(path, start, value) {
		return
	}
	f, known := r.schema.byPath[path]
	if !known {
		r.unknown(path, start)
		return
	}
	here := &place{key: start, value: r.valueOffset(end)}
	if first, twice := r.at[path]; twice {
		line, _ := r.lineColumn(first.key)
		r.problem(start, path, "is set twice, first on line %d", line)
		return
	}
	r.at[path] = here
	if why := r.store(f, value, here); why != "" {
		here.bad = true
		r.problem(here.value, path, "%s", why)
	}
}

// inline takes path = { ... } where path is no key.
func (r *reader) inline(path string, start int, value *unstable.Node) bool {
	if _, isKey := r.schema.byPath[path]; isKey {
		return false
	}
	table := r.enter(path, start)
	for c := value.Children(); c.Next() && !r.full(); {
		if c.Node().Kind == unstable.KeyValue {
			r.assign(table, c.Node())
		}
	}
	return true
}

func (r *reader) unknown(path string, start int) {
	if r.schema.isTable(path) {
		r.problem(start, path, "is a table: write [%s] on a line of its own, its keys below", path)
		return
	}
	r.unknowns++
	guess, hint := r.schema.nearest(path)
	r.guessed[guess] = true
	table, _ := split(path)
	if _, told := r.meant[table]; told && hint == "" {
		return // the table as a whole is unknown, which was said
	}
	r.problem(start, path, "unknown key%s", hint)
}

// valueOffset finds the value behind a key that ends at end.
func (r *reader) valueOffset(end int) int {
	i := end
	for i < len(r.text) && strings.IndexByte(" \t=", r.text[i]) >= 0 {
		i++
	}
	return min(i, len(r.text)-1)
}
