package config

import (
	"bytes"
	_ "embed" // for the comments of config.go
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

// source is config.go, whose comments are the documentation.
//
//go:embed config.go
var source string

// Show gives every key with its value in effect, as a file that Parse reads.
func Show(c *Config) []byte {
	var b bytes.Buffer
	table := ""
	for _, f := range newSchema().fields {
		if f.table != table {
			table = f.table
			fmt.Fprintf(&b, "\n[%s]\n", table)
		}
		fmt.Fprintf(&b, "%s = %s\n", f.leaf, f.literal(c))
	}
	return b.Bytes()
}

// sampleDomain stands in the sample; RFC 2606 keeps it free.
const sampleDomain = "chat.example.org"

// Sample gives a file that shows every key with its meaning and its default.
// All but the domain are commented out.
func Sample() []byte {
	return commented(Default(sampleDomain), "Every key is here with its default; only the\n# domain must be set.", func(f field) bool { return f.path == "domain" })
}

// Fresh gives the file of a new relay: every key with its meaning, those that
// a relay of this domain has otherwise anyway commented out. The data directory
// always stands in it, for its default is another one for another user.
func Fresh(c *Config) []byte {
	usual := Default(c.Domain)
	return commented(c, "Every key is here; what is commented out has its\n# default.", func(f field) bool {
		return f.path == "domain" || f.path == "data_dir" || f.literal(c) != f.literal(usual)
	})
}

// commented writes a file with all keys, of which only some are set.
func commented(c *Config, about string, set func(field) bool) []byte {
	docs := comments()
	var b bytes.Buffer
	b.WriteString("# Configuration of barid. " + about + " An unknown key is an error.\n")
	table := ""
	for _, f := range newSchema().fields {
		if f.table != table {
			table = f.table
			b.WriteByte('\n')
			writeComment(&b, docs[f.goType], f.goType, "["+table+"]")
			fmt.Fprintf(&b, "[%s]\n", table)
		}
		b.WriteByte('\n')
		writeComment(&b, docs[f.goType+"."+f.goName], f.goName, f.leaf)
		mark := "#"
		if set(f) {
			mark = ""
		}
		fmt.Fprintf(&b, "%s%s = %s\n", mark, f.leaf, f.literal(c))
	}
	return b.Bytes()
}

// writeComment writes a Go comment as a TOML one, with the key's name in the
// place of the field's.
func writeComment(b *bytes.Buffer, doc, goName, name string) {
	if rest, ok := strings.CutPrefix(doc, goName+" "); ok {
		doc = name + " " + rest
	}
	for line := range strings.Lines(doc) {
		b.WriteString(strings.TrimRight("# "+strings.TrimSpace(line), " ") + "\n")
	}
}

// comments gives the comments of config.go: of each struct by its name, of
// each field by "Struct.Field".
func comments() map[string]string {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", source, parser.ParseComments)
	if err != nil {
		panic(err) // it was compiled
	}
	docs := map[string]string{}
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.TYPE {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.TypeSpec)
			docs[spec.Name.Name] = decl.Doc.Text()
			for _, f := range spec.Type.(*ast.StructType).Fields.List {
				docs[spec.Name.Name+"."+f.Names[0].Name] = f.Doc.Text()
			}
		}
	}
	return docs
}

// literal gives the key's value in c as TOML.
func (f field) literal(c *Config) string {
	switch v := f.value(c).Interface().(type) {
	case string:
		return quote(v)
	case int:
		return strconv.Itoa(v)
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case Size:
		if s := v.String(); strings.TrimRight(s, "KMGT") != s {
			return quote(s)
		}
		return strconv.FormatInt(int64(v), 10)
	case Duration:
		return quote(v.String())
	case []string:
		words := make([]string, len(v))
		for i, w := range v {
			words[i] = quote(w)
		}
		return "[" + strings.Join(words, ", ") + "]"
	}
	panic(fmt.Sprintf("the field of %s has a type that no key has", f.path)) // a fault in config.go
}

// quote gives a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
