//! HAVING: what is asked of a combined row.
//!
//! Owns: SQL's three values, and comparisons of numbers. Does not know: texts and dates, whose comparison with a literal
//! depends on the session. Invariant: resolved against the columns before a row comes; what is no number is refused.

use super::error::{Error, Needs};
use super::number::Scalar;
use super::row::{Field, Format};
use super::spec::{Condition, Operand, Test};
use crate::wire::column::Column;

/// A condition that can be decided.
#[derive(Debug)]
pub(super) struct Filter {
    node: Node,
    columns: Vec<Column>,
    format: Format,
}

#[derive(Debug)]
enum Node {
    Compare(Side, Test, Side),
    IsNull(Side),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

#[derive(Debug)]
enum Side {
    Column(usize),
    Number(Scalar),
}

impl Filter {
    pub fn new(condition: &Condition, columns: &[Column], format: Format) -> Result<Self, Error> {
        Ok(Self { node: Node::new(condition, columns, format)?, columns: columns.to_vec(), format })
    }

    /// Whether the row is in the result.
    pub fn holds(&self, row: &[u8], fields: &[Field]) -> Result<bool, Error> {
        Ok(self.decide(&self.node, row, fields)? == Some(true))
    }

    fn decide(&self, node: &Node, row: &[u8], fields: &[Field]) -> Result<Option<bool>, Error> {
        match node {
            Node::Compare(left, test, right) => {
                let (left, right) = (self.value(left, row, fields)?, self.value(right, row, fields)?);
                let (Some(left), Some(right)) = (left, right) else { return Ok(None) };
                let ordering = left.compare(right)?;
                Ok(Some(match test {
                    Test::Equal => ordering.is_eq(),
                    Test::NotEqual => ordering.is_ne(),
                    Test::Less => ordering.is_lt(),
                    Test::LessOrEqual => ordering.is_le(),
                    Test::Greater => ordering.is_gt(),
                    Test::GreaterOrEqual => ordering.is_ge(),
                }))
            }
            Node::IsNull(Side::Number(_)) => Ok(Some(false)),
            Node::IsNull(Side::Column(place)) => Ok(Some(fields.get(*place).ok_or(Error::Malformed)?.null)),
            Node::Not(node) => Ok(self.decide(node, row, fields)?.map(|truth| !truth)),
            Node::All(nodes) => self.decisive(nodes, false, row, fields),
            Node::Any(nodes) => self.decisive(nodes, true, row, fields),
        }
    }

    /// AND is false where one is, OR true; otherwise NULL where one is NULL.
    fn decisive(
        &self,
        nodes: &[Node],
        truth: bool,
        row: &[u8],
        fields: &[Field],
    ) -> Result<Option<bool>, Error> {
        let mut unknown = false;
        for node in nodes {
            match self.decide(node, row, fields)? {
                Some(decided) if decided == truth => return Ok(Some(truth)),
                Some(_) => {}
                None => unknown = true,
            }
        }
        Ok((!unknown).then_some(!truth))
    }

    fn value(&self, side: &Side, row: &[u8], fields: &[Field]) -> Result<Option<Scalar>, Error> {
        match side {
            Side::Number(number) => Ok(Some(*number)),
            Side::Column(place) => {
                let (field, column) =
                    fields.get(*place).zip(self.columns.get(*place)).ok_or(Error::Malformed)?;
                field.of(row).map(|value| Scalar::of(column, value, self.format)).transpose()
            }
        }
    }
}

impl Node {
    fn new(condition: &Condition, columns: &[Column], format: Format) -> Result<Self, Error> {
        let any = |operand| Side::new(operand, columns);
        let number = |operand| Side::number(operand, columns, format);
        let nodes = |conditions: &[Condition]| {
            conditions.iter().map(|condition| Self::new(condition, columns, format)).collect::<Result<_, _>>()
        };
        Ok(match condition {
            Condition::Compare(left, test, right) => Self::Compare(number(left)?, *test, number(right)?),
            Condition::IsNull(operand) => Self::IsNull(any(operand)?),
            Condition::Not(condition) => Self::Not(Box::new(Self::new(condition, columns, format)?)),
            Condition::All(conditions) => Self::All(nodes(conditions)?),
            Condition::Any(conditions) => Self::Any(nodes(conditions)?),
        })
    }
}

impl Side {
    fn new(operand: &Operand, columns: &[Column]) -> Result<Self, Error> {
        match operand {
            Operand::Column(place) if *place < columns.len() => Ok(Self::Column(*place)),
            Operand::Column(place) => Err(Error::NoColumn(*place)),
            Operand::Number(text) => Scalar::literal(text).map(Self::Number).ok_or(Error::NoNumber),
        }
    }

    fn number(operand: &Operand, columns: &[Column], format: Format) -> Result<Self, Error> {
        let side = Self::new(operand, columns)?;
        if let Side::Column(place) = side
            && !columns.get(place).is_some_and(|column| Scalar::has(column, format))
        {
            return Err(Error::Incomparable { place, needs: Needs::Nothing });
        }
        Ok(side)
    }
}
