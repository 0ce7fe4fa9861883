//! Questions about plans.

use dr_proto::v1;
use dr_proto::view::{Applied, Plan, Preview};

use super::{CallError, Coordinator, read, read_all};

impl Coordinator {
    pub(crate) async fn apply_plan(
        &self,
        text: String,
        expected: Option<String>,
    ) -> Result<Applied, CallError> {
        const DOING: &str = "apply the plan";
        let question = v1::ApplyPlanRequest {
            text,
            expected_hash: expected.unwrap_or_default(),
        };
        let ask = async |request| self.client.plans().apply_plan(request).await;
        let answer = self.ask(DOING, question, ask).await?;
        read(DOING, answer)
    }

    pub(crate) async fn preview_plan(&self, name: String) -> Result<Preview, CallError> {
        self.preview(v1::preview_plan_request::Plan::Name(name)).await
    }

    pub(crate) async fn preview_text(&self, text: String) -> Result<Preview, CallError> {
        self.preview(v1::preview_plan_request::Plan::Text(text)).await
    }

    async fn preview(&self, plan: v1::preview_plan_request::Plan) -> Result<Preview, CallError> {
        const DOING: &str = "preview the plan";
        let question = v1::PreviewPlanRequest { plan: Some(plan) };
        let ask = async |request| self.client.plans().preview_plan(request).await;
        let answer = self.ask(DOING, question, ask).await?;
        read(DOING, answer)
    }

    pub(crate) async fn list_plans(&self) -> Result<Vec<Plan>, CallError> {
        const DOING: &str = "list plans";
        let ask = async |request| self.client.plans().list_plans(request).await;
        let answer = self.ask(DOING, v1::ListPlansRequest {}, ask).await?;
        read_all(DOING, answer.plans)
    }

    pub(crate) async fn plan(&self, name: String) -> Result<Plan, CallError> {
        const DOING: &str = "ask for a plan";
        let ask = async |request| self.client.plans().get_plan(request).await;
        let answer = self.ask(DOING, v1::GetPlanRequest { name }, ask).await?;
        read(DOING, answer)
    }

    pub(crate) async fn delete_plan(&self, name: String) -> Result<(), CallError> {
        let ask = async |request| self.client.plans().delete_plan(request).await;
        let v1::DeletePlanResponse {} = self
            .ask("delete a plan", v1::DeletePlanRequest { name }, ask)
            .await?;
        Ok(())
    }

    pub(crate) async fn enable_plan(&self, name: String, enabled: bool) -> Result<Plan, CallError> {
        const DOING: &str = "enable or disable a plan";
        let ask = async |request| self.client.plans().enable_plan(request).await;
        let question = v1::EnablePlanRequest { name, enabled };
        let answer = self.ask(DOING, question, ask).await?;
        read(DOING, answer)
    }
}
