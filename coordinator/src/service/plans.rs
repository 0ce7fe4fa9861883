//! `drill.v1.Plans`.

use dr_proto::v1;
use dr_proto::v1::plans_server::Plans;
use tonic::{Request, Response, Status};

use super::call::actor;
use super::{answer, read};
use crate::handle::{self, Error};

/// Plans in force.
#[derive(Debug)]
pub(crate) struct PlansService(pub(crate) handle::Plans);

#[tonic::async_trait]
impl Plans for PlansService {
    async fn apply_plan(
        &self,
        request: Request<v1::ApplyPlanRequest>,
    ) -> Result<Response<v1::ApplyPlanResponse>, Status> {
        let by = actor(&request)?;
        let v1::ApplyPlanRequest { text, expected_hash } = request.into_inner();
        let text = read::text("text", text)?;
        let expected = (!expected_hash.is_empty()).then_some(expected_hash.as_str());
        let (view, applied) = self.0.apply(&text, expected, &by).await?;
        Ok(Response::new(answer::applied(view, applied)))
    }

    async fn preview_plan(
        &self,
        request: Request<v1::PreviewPlanRequest>,
    ) -> Result<Response<v1::PlanPreview>, Status> {
        let v1::PreviewPlanRequest { plan } = request.into_inner();
        let preview = match plan {
            Some(v1::preview_plan_request::Plan::Name(name)) => self.0.preview(&name).await?,
            Some(v1::preview_plan_request::Plan::Text(text)) => {
                self.0.preview_text(&read::text("text", text)?).await?
            }
            None => return Err(Error::from(dr_proto::wire::Error::Missing("plan".to_owned())).into()),
        };
        Ok(Response::new(answer::preview(preview)))
    }

    async fn list_plans(
        &self,
        request: Request<v1::ListPlansRequest>,
    ) -> Result<Response<v1::ListPlansResponse>, Status> {
        let v1::ListPlansRequest {} = request.into_inner();
        let plans = self.0.list().await?.into_iter().map(answer::plan).collect();
        Ok(Response::new(v1::ListPlansResponse { plans }))
    }

    async fn get_plan(&self, request: Request<v1::GetPlanRequest>) -> Result<Response<v1::Plan>, Status> {
        let v1::GetPlanRequest { name } = request.into_inner();
        Ok(Response::new(answer::plan(self.0.get(&name).await?)))
    }

    async fn delete_plan(
        &self,
        request: Request<v1::DeletePlanRequest>,
    ) -> Result<Response<v1::DeletePlanResponse>, Status> {
        let by = actor(&request)?;
        let v1::DeletePlanRequest { name } = request.into_inner();
        self.0.delete(&name, &by).await?;
        Ok(Response::new(v1::DeletePlanResponse {}))
    }

    async fn enable_plan(
        &self,
        request: Request<v1::EnablePlanRequest>,
    ) -> Result<Response<v1::Plan>, Status> {
        let by = actor(&request)?;
        let v1::EnablePlanRequest { name, enabled } = request.into_inner();
        Ok(Response::new(answer::plan(
            self.0.enable(&name, enabled, &by).await?,
        )))
    }
}
