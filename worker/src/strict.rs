//! Refuses unknown fields, at any depth: a mistyped field of a config file must not be passed over, and the types that the
//! file shares with a manifest pass over what they do not know. The errors are those of `#[serde(deny_unknown_fields)]`.

use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

/// A deserializer whose structs have no fields but their own. It looks into structs, lists and options.
pub(crate) struct Strict<D>(pub(crate) D);

/// Passes these on as they are: there is no struct in them.
macro_rules! pass_on {
    ($($method:ident($($argument:ident: $kind:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, Inside { visitor, fields })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(Inside { visitor, fields: &[] })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_seq(Inside { visitor, fields: &[] })
    }

    pass_on! {
        deserialize_any()
        deserialize_bool()
        deserialize_i8()
        deserialize_i16()
        deserialize_i32()
        deserialize_i64()
        deserialize_u8()
        deserialize_u16()
        deserialize_u32()
        deserialize_u64()
        deserialize_f32()
        deserialize_f64()
        deserialize_char()
        deserialize_str()
        deserialize_string()
        deserialize_bytes()
        deserialize_byte_buf()
        deserialize_unit()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize)
        deserialize_map()
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier()
        deserialize_ignored_any()
    }
}

/// What is inside of a struct with these `fields`, of a list or of an option.
struct Inside<V> {
    visitor: V,
    fields: &'static [&'static str],
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Inside<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(formatter)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Entries { entries: map, fields: self.fields })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(Entries { entries: list, fields: &[] })
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Strict(value))
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }
}

/// The entries of a struct, or of a list.
struct Entries<A> {
    entries: A,
    fields: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(name) = self.entries.next_key_seed(FieldName(self.fields))? else { return Ok(None) };
        let name: StringDeserializer<A::Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.entries.next_value_seed(Value(seed))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Entries<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.entries.next_element_seed(Value(seed))
    }
}

/// A value that is strict in its turn.
struct Value<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Value<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

/// One of these names.
struct FieldName(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("field identifier")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<String, E> {
        if self.0.contains(&name) { Ok(name.to_owned()) } else { Err(E::unknown_field(name, self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;

    use super::Strict;

    /// The same types twice: one that passes over unknown fields, and one that serde makes refuse them.
    macro_rules! types {
        ($module:ident $(, $attribute:ident)?) => {
            mod $module {
                use serde::Deserialize;

                #[derive(Debug, Deserialize)]
                $(#[serde($attribute)])?
                #[expect(dead_code, reason = "read by Debug")]
                pub(super) struct Outer {
                    pub(super) one: Inner,
                    pub(super) some: Option<Inner>,
                    #[serde(default)]
                    pub(super) list: Vec<Inner>,
                }

                #[derive(Debug, Deserialize)]
                $(#[serde($attribute)])?
                #[expect(dead_code, reason = "read by Debug")]
                pub(super) struct Inner {
                    pub(super) number: u32,
                    pub(super) text: Option<String>,
                }
            }
        };
    }

    types!(tolerant);
    types!(denying, deny_unknown_fields);

    /// What becomes of a text, as text.
    fn outcome<T: Debug>(result: Result<T, serde_yaml::Error>) -> String {
        result.map_or_else(|error| format!("error: {error}"), |value| format!("{value:?}"))
    }

    fn strictly<T: DeserializeOwned>(text: &str) -> Result<T, serde_yaml::Error> {
        T::deserialize(Strict(serde_yaml::Deserializer::from_str(text)))
    }

    #[test]
    fn errors_are_those_of_serde_where_it_refuses_unknown_fields() {
        let refused = [
            "one: {number: 1}\nother: 2\n",
            "one: {number: 1, nmber: 2}\n",
            "one: {number: 1}\nsome:\n  number: 1\n  txt: a\n",
            "one: {number: 1}\nlist:\n- number: 1\n- number: 2\n  more: [a]\n",
            "one: {number: 1}\n7: a\n",
            "one: {number: a}\n",
            "one: 7\n",
            "one: {number: 1, number: 2}\n",
            "list: []\n",
            "one: {number: 1}\n? [a]\n: b\n",
            "",
        ];
        for text in refused {
            let expected = outcome(serde_yaml::from_str::<denying::Outer>(text));
            assert!(expected.starts_with("error: "), "{text:?}: {expected}");
            assert_eq!(outcome(strictly::<tolerant::Outer>(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn known_fields_are_read_as_ever() {
        let read =
            ["one: {number: 1, text: '2'}\nsome: null\n", "one: &a {number: 1}\nsome: *a\nlist: [*a, {number: 2}]\n"];
        for text in read {
            let expected = outcome(serde_yaml::from_str::<denying::Outer>(text));
            assert!(!expected.starts_with("error: "), "{text:?}: {expected}");
            assert_eq!(outcome(strictly::<tolerant::Outer>(text)), expected, "{text:?}");
        }
    }
}
