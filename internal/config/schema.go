package config

import (
	"reflect"
	"strings"
)

// field is one key of the file and the field of Config behind it.
type field struct {
	path   string // dotted: "limits.max_message_size"
	table  string // "limits", empty for the keys above the first table
	leaf   string // "max_message_size"
	goType string // the struct that documents it: "Limits"
	goName string // "MaxMessageSize"
	index  []int  // for reflect's FieldByIndex on a Config
}

// schema is every key and table, in the order of the struct.
type schema struct {
	fields []field
	tables []string
	byPath map[string]field
}

// newSchema reads the keys off Config: its plain fields, and the fields of its
// structs, which are the tables.
func newSchema() *schema {
	s := &schema{byPath: map[string]field{}}
	root := reflect.TypeFor[Config]()
	for i := range root.NumField() {
		f := root.Field(i)
		name := f.Tag.Get("toml")
		if f.Type.Kind() != reflect.Struct {
			s.add(field{path: name, leaf: name, goType: root.Name(), goName: f.Name, index: []int{i}})
			continue
		}
		s.tables = append(s.tables, name)
		for j := range f.Type.NumField() {
			g := f.Type.Field(j)
			leaf := g.Tag.Get("toml")
			s.add(field{path: name + "." + leaf, table: name, leaf: leaf, goType: f.Type.Name(), goName: g.Name, index: []int{i, j}})
		}
	}
	return s
}

func (s *schema) add(f field) {
	s.fields = append(s.fields, f)
	s.byPath[f.path] = f
}

func (s *schema) isTable(path string) bool {
	for _, t := range s.tables {
		if t == path {
			return true
		}
	}
	return false
}

// value gives the place in c that the key stands for.
func (f field) value(c *Config) reflect.Value { return reflect.ValueOf(c).Elem().FieldByIndex(f.index) }

// split parts a dotted path at its last dot.
func split(path string) (table, leaf string) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}
